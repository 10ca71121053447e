import { Command } from '@commander-js/extra-typings';
import { readJson, writeInPieces } from '../../../files/index.js';
import { recordTrace } from '../../../record-trace.js';
import { openScenario } from '../../../run.js';
import { setPath } from '../../../scenario/index.js';

const collect = (value: string, before: string[]) => [...before, value];

export function recordCommand() {
  return new Command('record')
    .description("write a scenario's routing to a native trace, its calibration part marked")
    .argument('<scenario>', 'scenario file')
    .requiredOption('--out <file>', 'the trace to write (.parquet)')
    .option('--set <path=value>', 'change one value of the scenario (repeatable)', collect, [])
    .action(async (file, { out, set }) => {
      let input = await readJson(file);
      for (const assignment of set) input = setPath(input, assignment);
      const opened = await openScenario(input, { file });
      const header = await writeInPieces(out, (sink) => recordTrace(opened, sink));
      console.error(
        `wrote ${out}: ${header.steps} steps of ${header.kind}, ${header.layerIds.length} layers`,
      );
    });
}
