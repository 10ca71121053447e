import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { readTrace, writeWhole } from '../../../files/index.js';
import { inspectTrace } from '../../../inspection/index.js';
import { heatMapSvg, inspectionText } from '../../../report/index.js';
import { UsageError } from '../../input-error.js';

/** EP sizes that are shown where nobody asks for others, as far as they divide the experts. */
export const EP_SIZES = [8, 32];
const BATCH_TOKENS = 1024;

export function inspectCommand() {
  return new Command('inspect')
    .description('how skewed a trace is: over all, batch by batch, over time and domains')
    .argument('<trace>', 'a native trace, or the common prefix of a numpy recording’s files')
    .option('--ep <sizes>', 'EP sizes, as 8,32 (default: those that divide the experts)', sizes)
    .option('--batch <tokens>', 'tokens of a batch', positive, BATCH_TOKENS)
    .option('--top-k <count>', 'experts of a token, where the recording does not say it', positive)
    .option('--svg <file>', 'write the heat map as an SVG')
    .addOption(new Option('--format <format>', 'what to print').choices(['table', 'json']).default('table'))
    .action(async (path, { ep, batch, topK, svg, format }) => {
      const { trace } = await readTrace(path, process.cwd(), topK);
      const { experts } = trace.header;
      const asked = ep ?? EP_SIZES.filter((size) => size < experts && experts % size === 0);
      const inspection = attempt(() => inspectTrace(trace, { ep: asked, batchTokens: batch }));
      if (svg !== undefined) await writeWhole(svg, await heatMapSvg(inspection));
      process.stdout.write(
        format === 'json' ? `${JSON.stringify(inspection, null, 2)}\n` : `${inspectionText(inspection)}\n`,
      );
    });
}

/** Turns what does not fit the trace into a message for the user. */
export function attempt<T>(use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

export function sizes(text: string): number[] {
  return text.split(',').map(positive);
}

export function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('Allowed: whole numbers ≥ 1.');
  return value;
}
