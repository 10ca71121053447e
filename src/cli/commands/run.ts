import { Command, Option } from '@commander-js/extra-typings';
import { dirname } from 'node:path';
import { checkFolder, exists, FileError, writeFolder, writeWhole } from '../../files/index.js';
import {
  balanceText,
  comparison,
  loadBars,
  reportPage,
  resultCsv,
  resultTable,
  stepsCsv,
} from '../../report/index.js';
import { runOpened, type OpenedScenario, type Watch } from '../../run.js';
import type { Recording, Result } from '../../simulation/index.js';
import { UsageError } from '../input-error.js';
import {
  lastStepRecorder,
  RECORDING_FILE,
  startTimeline,
  writeTimeline,
  zippedRecording,
  type TimelineOptions,
} from '../pictures.js';
import { progressBar } from '../progress.js';
import { collect, openFile } from '../scenario-file.js';
import { barStyle, drawsBars, windowColumns } from '../terminal.js';
import { wholeNumber } from './sweep/options.js';

export function runCommand() {
  return new Command('run')
    .description('run scenarios and compare their policies')
    .argument('<scenario...>', 'scenario files; several are set side by side')
    .option(
      '--set <path=value>',
      'change one value of the scenario, e.g. workload.steps=8 (repeatable)',
      collect,
      [],
    )
    .option(
      '--policy <policy>',
      'run this policy instead of those listed: llep, llep:alpha=1.1, or JSON (repeatable)',
      collect,
      [],
    )
    .addOption(
      new Option('--format <format>', 'how to print the result')
        .choices(['table', 'json', 'csv'])
        .default('table'),
    )
    .option(
      '--out [folder]',
      'keep result.json, steps.csv and a recording of the last step in a folder of their own under this one (default: results)',
    )
    .option('--report <file>', 'write a report with pictures: one HTML file that opens offline')
    .option(
      '--timeline <file>',
      'write a timeline for Perfetto (ui.perfetto.dev); gzipped where it ends in .gz',
    )
    .option(
      '--timeline-steps <steps>',
      'which steps of the timeline, as 0,4-7, warm-up included (default: the last)',
    )
    .option(
      '--timeline-policies <policies>',
      'which policies of the timeline, by name or kind (default: all)',
    )
    .option('--metrics', 'show every definition of balance that engines print, with its formula')
    .option(
      '--window <steps>',
      'with --metrics: steps whose loads are summed (default: all of the run)',
      wholeNumber('--window', 1),
    )
    .action(async (files, options) => {
      const metrics = metricsOf(options);
      const out = options.out === true ? 'results' : options.out;
      // What can be wrong is found before the first scenario has taken its time.
      const opened: OpenedScenario[] = [];
      for (const file of files) opened.push(await openFile(file, options));
      if (out !== undefined) await checkFolder(out);
      for (const scenario of opened) checkTraining(scenario, options, metrics);
      checkPictures(opened, options);
      const runs: Drawn[] = [];
      for (const scenario of opened) runs.push(await runAndKeep(scenario, out, options, metrics));
      process.stdout.write(`${render(runs, options.format)}\n`);
    });
}

/** What to ask of a run; undefined: no balance metrics. */
function metricsOf({ metrics, window }: { metrics?: true; window?: number }): Watch['metrics'] {
  if (metrics) return { window: window ?? null };
  if (window === undefined) return undefined;
  throw new UsageError('--window: found it without --metrics, allowed: --metrics --window ' + String(window));
}

interface PictureOptions extends TimelineOptions {
  /** Where the report goes; undefined: none. */
  report?: string;
  format: 'table' | 'json' | 'csv';
}

/** Bars are for eyes: what is read by programs stays as it is. */
function showsBars({ format }: PictureOptions): boolean {
  return format === 'table' && drawsBars();
}

/** Training steps are layers of several stages and micro-batches, which nothing here looks into. @throws UsageError */
function checkTraining(
  { scenario: { workload } }: OpenedScenario,
  { timeline }: PictureOptions,
  metrics: Watch['metrics'],
): void {
  if (workload.phase !== 'training' || (timeline === undefined && metrics === undefined)) return;
  throw new UsageError(
    `${timeline === undefined ? '--metrics' : '--timeline'}: found a training (workload.phase), allowed: prefill or decode` +
      (timeline === undefined ? '' : '; --report draws what is known of a training'),
  );
}

/** What is wrong with the pictures that are asked for is found before anything runs. @throws UsageError or FileError */
function checkPictures(opened: readonly OpenedScenario[], options: PictureOptions): void {
  for (const option of ['timeline', 'report'] as const) {
    if (opened.length === 1 || options[option] === undefined) continue;
    throw new UsageError(`--${option}: found ${opened.length} scenarios, allowed: one`);
  }
  for (const path of [options.timeline, options.report]) {
    if (path === undefined || exists(dirname(path))) continue;
    throw new FileError(
      `${path}: found no folder ${dirname(path)}, allowed: a file in a folder that is there`,
    );
  }
  startTimeline(opened[0], options);
}

/** A result, and what bars of it are drawn from; null: none are drawn. */
interface Drawn {
  result: Result;
  bars: Recording | null;
}

/** @param out folder to keep the result under; undefined: it is only printed */
async function runAndKeep(
  opened: OpenedScenario,
  out: string | undefined,
  pictures: PictureOptions,
  metrics: Watch['metrics'],
): Promise<Drawn> {
  const timeline = startTimeline(opened, pictures);
  const wanted = out !== undefined || pictures.report !== undefined || showsBars(pictures);
  const last = wanted && opened.resolved.training === null ? lastStepRecorder(opened) : null;
  const progress = progressBar(opened.scenario.name ?? opened.file);
  const { result, latencies, balance } = runOpened(opened, progress.onStep, {
    metrics,
    onLayer(...layer) {
      timeline?.recorder.onLayer(...layer);
      last?.onLayer(...layer);
    },
    onHead(...head) {
      timeline?.recorder.onHead(...head);
      last?.onHead(...head);
    },
  });
  progress.stop();
  if (out !== undefined) {
    const folder = await writeFolder(out, folderName(result), {
      'result.json': `${JSON.stringify(result, null, 2)}\n`,
      'steps.csv': stepsCsv(result, latencies, balance),
      ...(last === null ? {} : { [RECORDING_FILE]: zippedRecording(last) }),
    });
    console.error(`kept in ${folder}`);
  }
  if (pictures.report !== undefined)
    await writeWhole(pictures.report, await reportPage(result, last?.recording() ?? null));
  if (timeline !== null) await writeTimeline(pictures.timeline!, timeline, result);
  return { result, bars: showsBars(pictures) && last !== null ? last.recording() : null };
}

/** A readable name that differs where inputs differ. */
function folderName({ scenario, inputs }: Result): string {
  const slug = (scenario.name ?? 'scenario')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 60);
  return `${slug || 'scenario'}-${inputs.slice(0, 10)}`;
}

function render(runs: readonly Drawn[], format: 'table' | 'json' | 'csv'): string {
  const results = runs.map(({ result }) => result);
  if (format === 'json') return JSON.stringify(results.length === 1 ? results[0] : results, null, 2);
  if (format === 'csv') return resultCsv(results).trimEnd();
  const bars = runs.flatMap(({ result, bars }) =>
    bars === null ? [] : [loadBars(result, bars, barStyle())],
  );
  const columns = drawsBars() ? windowColumns() : undefined;
  const text =
    runs.length === 1
      ? resultTable(results[0], { columns, bars: bars[0] })
      : [...bars.flatMap((own) => [own, '']), comparison(results)].join('\n');
  return [text, ...results.flatMap(({ balance }) => (balance ? ['', balanceText(balance)] : []))].join('\n');
}
