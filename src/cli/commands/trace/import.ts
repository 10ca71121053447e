import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { resolve } from 'node:path';
import { listFiles, openBytes, readJson, writeInPieces, type OpenFile } from '../../../files/index.js';
import { modelPresets } from '../../../model/index.js';
import { resultTable } from '../../../report/index.js';
import { importTrace, phases, traceFormats, type TraceHeader } from '../../../routing/index.js';
import { openScenario, runOpened } from '../../../run.js';
import { parseScenario, type ScenarioInput } from '../../../scenario/index.js';
import { progressBar } from '../../progress.js';
import { drawsBars, windowColumns } from '../../terminal.js';

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
    .option(
      '--run <scenario>',
      'then run this scenario on it, in the place of its routing (of a trace: of its path)',
    )
    .addHelpText('after', () => `\nFormats:\n${formatList()}`)
    .action(async (paths, { out, as, run, ...options }) => {
      const files: OpenFile[] = [];
      const scenario = run === undefined ? null : await scenarioOn(run, out);
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
      if (scenario !== null) await runScenario(scenario, run!);
    });
}

/** A scenario's file, with its routing replaced by a trace that is yet to be written. @throws ScenarioError or FileError */
async function scenarioOn(file: string, trace: string): Promise<ScenarioInput> {
  const input = (await readJson(file)) as ScenarioInput;
  const { routing } = parseScenario(input, file).workload;
  const path = resolve(trace);
  const replayed = routing.kind === 'trace' ? { ...routing, path } : { kind: 'trace' as const, path };
  return { ...input, workload: { ...input.workload, routing: replayed } };
}

async function runScenario(scenario: ScenarioInput, file: string): Promise<void> {
  const opened = await openScenario(scenario, { file });
  const progress = progressBar(opened.scenario.name ?? file);
  const { result } = runOpened(opened, progress.onStep);
  progress.stop();
  process.stdout.write(`${resultTable(result, { columns: drawsBars() ? windowColumns() : undefined })}\n`);
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
