import { Command } from '@commander-js/extra-typings';
import { dirname, join } from 'node:path';
import { exists, parseJson, readText, writeWhole } from '../../files/index.js';
import { parseRecording, parseReportedResult, reportPage } from '../../report/index.js';
import { RECORDING_FILE } from '../pictures.js';
import { readResultFile } from '../read-result.js';

export function reportCommand() {
  return new Command('report')
    .description('draw a kept result as one HTML file that opens offline')
    .argument('<results>', 'a folder that epsim run --out wrote, or its result.json')
    .option('-o, --out <file>', 'where the page goes (default: report.html beside the result)')
    .action(async (results, options) => {
      const { json, file } = await readResultFile(results);
      const result = parseReportedResult(json, file);
      const recorded = join(dirname(file), RECORDING_FILE);
      const recording = exists(recorded)
        ? parseRecording(parseJson(recorded, await readText(recorded)), result.policies.length, recorded)
        : null;
      const out = options.out ?? join(dirname(file), 'report.html');
      await writeWhole(out, await reportPage(result, recording));
      console.error(`wrote ${out}`);
    });
}
