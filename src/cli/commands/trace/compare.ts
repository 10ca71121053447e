import { Command, Option } from '@commander-js/extra-typings';
import { readTrace } from '../../../files/index.js';
import { compareTraces } from '../../../inspection/index.js';
import { traceComparisonText } from '../../../report/index.js';
import { attempt, EP_SIZES, positive, sizes } from './inspect.js';

export function compareCommand() {
  return new Command('compare')
    .description('whether a placement made for one trace would serve another')
    .argument('<a>', 'the trace that a placement would be made for')
    .argument('<b>', 'the trace that it would serve')
    .option('--ep <sizes>', 'EP sizes, as 8,32 (default: those that divide the experts)', sizes)
    .option('--top-k <count>', 'experts of a token, where the recordings do not say it', positive)
    .addOption(new Option('--format <format>', 'what to print').choices(['table', 'json']).default('table'))
    .action(async (a, b, { ep, topK, format }) => {
      const first = (await readTrace(a, process.cwd(), topK)).trace;
      const second = (await readTrace(b, process.cwd(), topK)).trace;
      const { experts } = first.header;
      const asked = ep ?? EP_SIZES.filter((size) => size < experts && experts % size === 0);
      const comparison = attempt(() => compareTraces(first, second, asked));
      process.stdout.write(
        format === 'json'
          ? `${JSON.stringify(comparison, null, 2)}\n`
          : `${traceComparisonText(comparison, a, b)}\n`,
      );
    });
}
