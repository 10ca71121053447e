import { Command, Option } from '@commander-js/extra-typings';
import { availableParallelism } from 'node:os';
import { policies } from '../../balancing/index.js';
import { readJson, writeWhole } from '../../files/index.js';
import { chartPage, chartPicture, frontChart, sloText, tuneText } from '../../report/index.js';
import { defaultTuneSpace, tune } from '../../run-tune.js';
import { setPath } from '../../scenario/index.js';
import { solveSlo } from '../../solve-slo.js';
import {
  objectives,
  parseLimits,
  type ObjectiveName,
  type SloLimits,
  type TuneSpace,
} from '../../sweep/index.js';
import { UsageError } from '../input-error.js';
import { untilSignal } from './sweep/compute.js';
import { jobsOption, outOption, wholeNumber } from './sweep/options.js';

const collect = (value: string, before: string[]) => [...before, value];
const names = Object.keys(objectives) as ObjectiveName[];

export function tuneCommand() {
  return new Command('tune')
    .description("search a policy's options on a scenario, and say which to use")
    .argument('<scenario>', 'scenario file')
    .addOption(
      new Option(
        '--policy <kind>',
        'policy to tune; with --slo: the only one beside ep (default: all)',
      ).choices(policies.map(({ kind }) => kind)),
    )
    .option(
      '--minimise <names>',
      `what to make small, the most important first: ${names.join(', ')}`,
      'step,peak-memory',
    )
    .option(
      '--over <option=values>',
      'values to try, as alpha=1,1.25,1.5 or placement.slots=256,288 (repeatable; default: a grid per policy)',
      collect,
      [],
    )
    .option('--set <path=value>', 'change one value of the scenario (repeatable)', collect, [])
    .option('--seeds <n>', 'seeds of the last round', wholeNumber('--seeds', 1), 5)
    .option('--no-break-even', 'leave out the search for the batch from which the policy beats ep')
    .option('--plot <file>', 'draw the last round: .svg, or .html with its numbers')
    .option(
      '--slo <limits>',
      'instead: the largest batch of each policy within tpot=30ms (decode) or ttft=500ms (prefill); scope model',
    )
    .addOption(
      new Option('--maximise <name>', 'what to make large under --slo').choices([
        'tokens-per-second-per-gpu',
      ]),
    )
    .addOption(new Option('--format <format>', 'how to print it').choices(['table', 'json']).default('table'))
    .addOption(outOption())
    .addOption(jobsOption())
    .action(async (file, options) => {
      const { policy, seeds, out, jobs = availableParallelism(), breakEven, plot } = options;
      if (plot !== undefined && !/\.(svg|html)$/.test(plot)) {
        throw new UsageError(`--plot: found ${plot}, allowed: a file .svg or .html`);
      }
      let scenario = await readJson(file);
      for (const assignment of options.set) scenario = setPath(scenario, assignment);
      if (options.slo !== undefined) {
        const found = await solveSlo(scenario as object, file, {
          limits: limitsOf(options.slo),
          policy: policy ?? null,
          onBatch: (tokens) => console.error(`${tokens} tokens per GPU`),
        });
        process.stdout.write(
          `${options.format === 'json' ? JSON.stringify(found, null, 2) : sloText(found)}\n`,
        );
        return;
      }
      if (options.maximise !== undefined) {
        throw new UsageError(`--maximise: found ${options.maximise}, allowed: nothing without --slo`);
      }
      if (policy === undefined) {
        throw new UsageError('--policy: found nothing, allowed: a policy to tune, or --slo');
      }
      const space = await spaceOf(scenario as object, file, policy, options.over);
      const stopped = `stopped; what is finished is kept in ${out}, and the same command goes on from there`;
      await untilSignal(stopped, async (signal) => {
        const found = await tune(scenario as object, file, {
          policy,
          space,
          minimise: objectivesOf(options.minimise),
          seeds,
          out,
          jobs,
          breakEven,
          signal,
          onPart: (text) => console.error(text),
        });
        if (plot !== undefined) {
          const chart = frontChart(found);
          await writeWhole(plot, plot.endsWith('.svg') ? await chartPicture(chart) : await chartPage(chart));
          console.error(`wrote ${plot}`);
        }
        process.stdout.write(
          `${options.format === 'json' ? JSON.stringify(found, null, 2) : tuneText(found)}\n`,
        );
      });
    });
}

function limitsOf(text: string): SloLimits {
  try {
    return parseLimits(text);
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`--slo: ${error.message}`) : error;
  }
}

function objectivesOf(text: string): ObjectiveName[] {
  return text.split(',').map((name) => {
    const found = names.find((known) => known === name.trim());
    if (found !== undefined) return found;
    throw new UsageError(`--minimise: found '${name}', allowed: ${names.join(', ')}`);
  });
}

async function spaceOf(
  scenario: object,
  file: string,
  policy: string,
  over: readonly string[],
): Promise<TuneSpace> {
  if (over.length === 0) {
    const space = await defaultTuneSpace(scenario, file, policy);
    if (space !== null) return space;
    throw new UsageError(
      `--over: found nothing, allowed: options of ${policy} to try, as option=value,value`,
    );
  }
  return Object.fromEntries(
    over.map((text) => {
      const [, option, values] = /^(\w+(?:\.\w+)*)=(.+)$/s.exec(text) ?? [];
      if (option === undefined) throw new UsageError(`--over: found '${text}', allowed: option=value,value`);
      return [option, values.split(',').map(parseValue)];
    }),
  );
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
