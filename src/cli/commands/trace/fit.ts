import { Command, Option } from '@commander-js/extra-typings';
import { readJson } from '../../../files/index.js';
import { fitTrace } from '../../../fit-twin.js';
import { twinText } from '../../../report/index.js';
import { UsageError } from '../../input-error.js';
import { positive, sizes } from './inspect.js';

export function fitCommand() {
  return new Command('fit')
    .description(
      'fit a twin to a trace: a generator to share in its place, and to scale to other numbers of tokens',
    )
    .argument(
      '<traces...>',
      'a native trace, or the common prefix of a numpy recording’s files; several of one model are fitted as one',
    )
    .requiredOption('--out <file>', 'the twin to write (.json)')
    .option('--ep <sizes>', 'EP sizes to compare at, as 8,32 (default: those that divide the experts)', sizes)
    .option('--top-k <count>', 'experts of a token, where the recording does not say it', positive)
    .option(
      '--scenario <file>',
      'what to run under the recording and its twin (default: a preset with such experts on 8 H200)',
    )
    .option('--source <text>', 'where the recording comes from (default: as it says)')
    .option('--licence <text>', 'its licence (default: as it says)')
    .addOption(new Option('--format <format>', 'what to print').choices(['table', 'json']).default('table'))
    .action(async (paths, { out, ep, topK, scenario, source, licence, format }) => {
      if (scenario !== undefined && paths.length > 1) {
        throw new UsageError(
          '--scenario: found several recordings beside it, allowed: one, which is replayed',
        );
      }
      const given = scenario === undefined ? undefined : { input: await readJson(scenario), file: scenario };
      const report = await inRange(() =>
        fitTrace(paths, { out, ep, topK, source, licence, scenario: given }),
      );
      console.error(`wrote ${out}`);
      process.stdout.write(
        format === 'json' ? `${JSON.stringify(report, null, 2)}\n` : `${twinText(report)}\n`,
      );
    });
}

async function inRange<T>(use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}
