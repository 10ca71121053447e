import { Command, Option } from '@commander-js/extra-typings';
import { mapFormats, type PlacementMap } from '../../balancing/index.js';
import { writeWhole } from '../../files/index.js';
import { stressText } from '../../report/index.js';
import { parseSegments, type PlanSpec, type SegmentChoice } from '../../robustness/index.js';
import { stressScenario } from '../../run-stress.js';
import { parsePolicy } from '../../scenario/index.js';
import { UsageError } from '../input-error.js';
import { parsePolicyArgument } from '../policy-argument.js';
import { progressBar } from '../progress.js';
import { collect, readScenario } from '../scenario-file.js';

export function stressCommand() {
  return new Command('stress')
    .description(
      'the mixture of a routing’s segments that costs each policy most, and a placement planned against it',
    )
    .argument('<scenario>', 'scenario file')
    .option('--segments <how>', 'domains, windows:<n>, or traces:<path>,<path>,…', 'windows:8')
    .addOption(
      new Option(
        '--mix <weights>',
        'what the radius is measured from: segments of equal weight, or as recorded',
      )
        .choices(['equal', 'recorded'])
        .default('equal' as const),
    )
    .option(
      '--radius <list>',
      'radii κ of the curve, nats; the largest that means anything is added',
      '0.1,0.5,1',
    )
    .option(
      '--plan <policy>',
      'eplb, with options, whose placement is planned against the worst mixture',
      'eplb',
    )
    .option('--no-plan', 'plan no placement')
    .option('--plan-radius <nats>', 'radius of the mixtures to plan against', '0.5')
    .option('--rounds <n>', 'rounds of planning', '8')
    .addOption(
      new Option('--objective <cost>', 'what the robust placement makes small')
        .choices(['time', 'memory'])
        .default('time' as const),
    )
    .option('--map <file>', 'write the robust placement there')
    .addOption(
      new Option('--emit <engine>', 'format of that map')
        .choices(mapFormats.map(({ name }) => name))
        .default('sglang'),
    )
    .option('--set <path=value>', 'change one value of the scenario (repeatable)', collect, [])
    .option('--policy <policy>', 'run this policy instead of those listed (repeatable)', collect, [])
    .addOption(new Option('--format <format>', 'how to print it').choices(['text', 'json']).default('text'))
    .action(async (file, options) => {
      const { mix, objective, map: mapFile, plan, format } = options;
      if (mapFile !== undefined && plan === false) {
        throw new UsageError('--map: found --no-plan beside it, allowed: a plan to write');
      }
      const rounds = numberOf('--rounds', options.rounds);
      if (!Number.isInteger(rounds)) {
        throw new UsageError(`--rounds: found '${options.rounds}', allowed: a whole number ≥ 0`);
      }
      const radii = options.radius.split(',').map((text) => numberOf('--radius', text));
      const radius = numberOf('--plan-radius', options.planRadius);
      const request = {
        segments: segmentsOf(options.segments),
        mix,
        radii: radii.sort((a, b) => a - b),
        plan: typeof plan === 'string' ? { policy: placer(plan), objective, radius, rounds } : null,
      };
      const input = await readScenario(file, options);
      const progress = progressBar(file, 'segments');
      const { report, map } = await stressScenario(input, file, { ...request, onSegment: progress.onStep });
      progress.stop();
      if (mapFile !== undefined) await writeWhole(mapFile, textOf(map!, options.emit, mapFile));
      process.stdout.write(`${format === 'json' ? JSON.stringify(report, null, 2) : stressText(report)}\n`);
    });
}

function segmentsOf(text: string): SegmentChoice {
  return asUsage('--segments', () => parseSegments(text));
}

/** What plans from the loads of a mixture. */
function placer(text: string): PlanSpec['policy'] {
  const policy = parsePolicy(parsePolicyArgument(text), '--plan');
  const options = typeof policy === 'string' ? parsePolicy({ kind: policy }, '--plan') : policy;
  if (typeof options === 'string' || options.kind !== 'eplb' || kindOf(options.history) !== 'calibration') {
    throw new UsageError(
      `--plan: found '${text}', allowed: eplb with history calibration, e.g. eplb:slots=40`,
    );
  }
  const placement = kindOf(options.placement);
  if (placement !== 'eplb') {
    throw new UsageError(`--plan: found placement '${placement}', allowed: eplb`);
  }
  return options;
}

function kindOf(choice: string | { kind: string }): string {
  return typeof choice === 'string' ? choice : choice.kind;
}

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new UsageError(`${option}: found '${text}', allowed: a number ≥ 0`);
}

function textOf(map: PlacementMap, engine: string, file: string): string {
  return asUsage(file, () => mapFormats.find(({ name }) => name === engine)!.write(map));
}

/** @param where what the message is about */
function asUsage<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`${where}: ${error.message}`);
    throw error;
  }
}
