import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { listFiles, openBytes, writeInPieces, type OpenFile } from '../../../files/index.js';
import { modelPresets } from '../../../model/index.js';
import { importTrace, phases, traceFormats, type TraceHeader } from '../../../routing/index.js';

export function importCommand() {
  return new Command('import')
    .description("make a native trace of a recording in an engine's own format")
    .argument('<files...>', 'the files of one recording, or the folder that holds them')
    .requiredOption('--out <file>', 'the trace to write (.parquet)')
    .addOption(
      new Option('--as <format>', 'what the files are (default: what they look like)').choices(
        traceFormats.map(({ name }) => name),
      ),
    )
    .option(
      '--model <name>',
      'the model; a preset also says how many experts there are and how many a token picks',
    )
    .option('--experts <count>', 'experts of a layer, where the recording does not say it', count)
    .option('--top-k <count>', 'experts of a token, where the recording does not say it', count)
    .addOption(new Option('--phase <phase>', 'what was recorded').choices(phases))
    .option('--source <text>', 'where the recording comes from')
    .option('--licence <text>', 'its licence')
    .addHelpText('after', () => `\nFormats:\n${formatList()}`)
    .action(async (paths, { out, as, ...options }) => {
      const files: OpenFile[] = [];
      try {
        for (const path of await listFiles(paths)) files.push(await openBytes(path));
        const preset = options.model === undefined ? undefined : modelPresets[options.model];
        const { format, header } = await writeInPieces(out, (sink) =>
          importTrace(files, sink, { experts: preset?.experts, topK: preset?.topK, ...options }, as),
        );
        console.error(`${format}: wrote ${out}, ${summaryOf(header)}`);
        for (const note of header.notes) console.error(`* ${note}`);
      } finally {
        for (const file of files) await file.close();
      }
    });
}

function summaryOf({ kind, experts, topK, layerIds, steps, gpus }: TraceHeader): string {
  const batches = steps === undefined ? '' : `, ${steps} steps`;
  const sources = gpus === undefined ? '' : ` from ${gpus} source GPUs`;
  return `a trace of ${kind}: ${layerIds.length} layers × ${experts} experts, top ${topK}${batches}${sources}`;
}

function formatList(): string {
  const width = Math.max(...traceFormats.map(({ name }) => name.length));
  return traceFormats.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join('\n');
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('Allowed: a whole number ≥ 1.');
  return value;
}
