import { Command, Option } from '@commander-js/extra-typings';
import { checkFolder, writeFolder } from '../../files/index.js';
import { balanceText, comparison, resultCsv, resultTable, stepsCsv } from '../../report/index.js';
import { runOpened, type OpenedScenario } from '../../run.js';
import type { Result } from '../../simulation/index.js';
import { UsageError } from '../input-error.js';
import { progressBar } from '../progress.js';
import { collect, openFile } from '../scenario-file.js';
import { wholeNumber } from './sweep/options.js';

type Metrics = NonNullable<Parameters<typeof runOpened>[2]>;

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
      'keep result.json and steps.csv in a folder of their own under this one (default: results)',
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
      const results: Result[] = [];
      for (const scenario of opened) results.push(await runAndKeep(scenario, out, metrics));
      process.stdout.write(`${render(results, options.format)}\n`);
    });
}

/** What to ask of a run; undefined: no balance metrics. */
function metricsOf({ metrics, window }: { metrics?: true; window?: number }): Metrics | undefined {
  if (metrics) return { window: window ?? null };
  if (window === undefined) return undefined;
  throw new UsageError('--window: found it without --metrics, allowed: --metrics --window ' + String(window));
}

/** @param out folder to keep the result under; undefined: it is only printed */
async function runAndKeep(
  opened: OpenedScenario,
  out: string | undefined,
  metrics: Metrics | undefined,
): Promise<Result> {
  const progress = progressBar(opened.scenario.name ?? opened.file);
  const { result, latencies, balance } = runOpened(opened, progress.onStep, metrics);
  progress.stop();
  if (out !== undefined) {
    const folder = await writeFolder(out, folderName(result), {
      'result.json': `${JSON.stringify(result, null, 2)}\n`,
      'steps.csv': stepsCsv(result, latencies, balance),
    });
    console.error(`kept in ${folder}`);
  }
  return result;
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

function render(results: readonly Result[], format: 'table' | 'json' | 'csv'): string {
  if (format === 'json') return JSON.stringify(results.length === 1 ? results[0] : results, null, 2);
  if (format === 'csv') return resultCsv(results).trimEnd();
  const text = results.length === 1 ? resultTable(results[0]) : comparison(results);
  return [text, ...results.flatMap(({ balance }) => (balance ? ['', balanceText(balance)] : []))].join('\n');
}
