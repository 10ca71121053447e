import { Command, Option } from '@commander-js/extra-typings';
import Table from 'cli-table3';
import {
  mapFormats,
  planLayer,
  type PlannedLayer,
  type PlanSetting,
  plannedOnce,
  planSettingSchema,
  policyOf,
  policyOptions,
  type PolicyInput,
  type PolicyOptions,
} from '../../balancing/index.js';
import { readJson } from '../../files/index.js';
import { planPrecision, sensitivitySchema } from '../../model/index.js';
import { parseInput, parsePolicy, show } from '../../scenario/index.js';
import { firstPlacements } from '../../simulation/index.js';
import { UsageError } from '../input-error.js';
import { parsePolicyArgument } from '../policy-argument.js';
import { collect, openFile } from '../scenario-file.js';

export function planCommand() {
  return new Command('plan')
    .description(
      "one layer's plan for given loads, a policy's placement as an engine loads it, or the bits of each expert",
    )
    .argument('[scenario]', 'with --emit: place the layers of this scenario')
    .option('--policy <policy>', 'llep, llep:alpha=1.1, or JSON')
    .option('--precision <file>', "a sensitivity file (.json): plan every expert's bits")
    .option(
      '--average-bits <bits>',
      'with --precision: mean bits per weight that a layer may spend',
      positive,
    )
    .option('--set <path=value>', 'change one value of the scenario (repeatable)', collect, [])
    .option('--gpus <n>', 'number of GPUs', whole('--gpus'))
    .option('--gpus-per-node <n>', 'GPUs of a node', whole('--gpus-per-node'))
    .option('--loads <list>', 'copies per expert, e.g. 60,4,8,8,4,4,6,6', list)
    .option('--input <file>', 'JSON with gpus, experts, and counts (source GPU × expert), loads or tokens')
    .addOption(
      new Option('--emit <engine>', 'write the placement as a map for an engine').choices(
        mapFormats.map(({ name }) => name),
      ),
    )
    .addOption(
      new Option('--format <format>', 'how to print the plan').choices(['table', 'json']).default('table'),
    )
    .action(async (scenario, given) => {
      if (given.precision !== undefined) {
        process.stdout.write(
          await precisionPlanOf(scenario, given.precision, given.averageBits, given.policy),
        );
        return;
      }
      const options = { ...given, policy: givenPolicy(given.policy) };
      const policy = parsePolicy(parsePolicyArgument(options.policy), '--policy');
      const format = mapFormats.find(({ name }) => name === options.emit);
      if (scenario !== undefined) {
        refuseBeside(scenario, options);
        process.stdout.write(await mapOfScenario(scenario, options, format));
        return;
      }
      const setting = await readSetting(options);
      const where = options.input ?? 'plan';
      if (format !== undefined) {
        const placed = optionsOfMap(policy);
        const plan = attempt(where, () => planLayer(placed, setting));
        const map = { experts: setting.experts, layers: [{ layer: 0, slots: plan.placementByGpu }] };
        process.stdout.write(attempt(where, () => format.write(map)));
        return;
      }
      const plan = attempt(where, () => planLayer(policy, setting));
      process.stdout.write(
        `${options.format === 'json' ? JSON.stringify(plan, null, 2) : planTable(plan)}\n`,
      );
    });
}

/** @throws UsageError */
function givenPolicy(policy: string | undefined): string {
  if (policy !== undefined) return policy;
  throw new UsageError(
    'plan: found neither --policy nor --precision, allowed: --policy llep, or --precision sensitivity.json',
  );
}

/** The bits of every expert, as the text of a file. */
async function precisionPlanOf(
  scenario: string | undefined,
  path: string,
  averageBits: number | undefined,
  policy: string | undefined,
): Promise<string> {
  if (averageBits === undefined) {
    throw new UsageError('plan: found --precision alone, allowed: --average-bits 2.5 beside it');
  }
  const beside = policy === undefined ? scenario : '--policy';
  if (beside !== undefined) {
    throw new UsageError(`plan: found ${beside} beside --precision, allowed: one of them`);
  }
  const sensitivity = parseInput(sensitivitySchema, await readJson(path), path);
  const plan = attempt(`--average-bits ${averageBits}`, () => planPrecision(sensitivity, averageBits));
  return `${JSON.stringify(plan)}\n`;
}

/** Reads the value of --average-bits. */
function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new UsageError(`--average-bits: found '${text}', allowed: a number above 0`);
}

/** The placement of a policy in the first step of a scenario, as the text of a file. */
async function mapOfScenario(
  path: string,
  { policy, set }: { policy: string; set: string[] },
  format: (typeof mapFormats)[number] | undefined,
): Promise<string> {
  if (format === undefined) {
    throw new UsageError(
      `plan: found a scenario without --emit, allowed: --emit ${mapFormats.map(({ name }) => name).join(' | ')}`,
    );
  }
  const placed = optionsOfMap(parsePolicy(parsePolicyArgument(policy), '--policy'));
  const { resolved } = await openFile(path, { set, policy: [JSON.stringify(placed)] });
  return attempt(path, () => format.write(firstPlacements(resolved, placed)));
}

/** What of a policy a map can hold, with a word on stderr where that is not all. @throws UsageError */
function optionsOfMap(named: PolicyInput): PolicyOptions {
  const given = attempt('--policy', () => policyOptions(named));
  const { kind } = given;
  const policy = policyOf(given);
  if (policy.anchor) {
    throw new UsageError(`--policy: found ${kind}, an anchor, allowed: a policy that places experts`);
  }
  const placed = plannedOnce(given);
  if (policy.sees(given) === 'history' && policy.warmup(given) > 0) {
    console.error(`${kind} plans as steps go by: this is what it plans from the loads given, all at once`);
  } else if (policy.plansEachBatch(policy.sees(given) === 'batch' ? given : placed)) {
    console.error(`${kind} decides batch by batch: this is the placement that it starts from`);
  }
  return placed;
}

/** A scenario says itself what these options say. */
function refuseBeside(scenario: string, { gpus, gpusPerNode, loads, input }: SettingOptions): void {
  const given = Object.entries({
    '--gpus': gpus,
    '--gpus-per-node': gpusPerNode,
    '--loads': loads,
    '--input': input,
  });
  const [option] = given.find(([, value]) => value !== undefined) ?? [];
  if (option === undefined) return;
  throw new UsageError(
    `plan: found ${option} beside ${scenario}, allowed: a scenario, or options that say what it says`,
  );
}

interface SettingOptions {
  gpus?: number;
  gpusPerNode?: number;
  loads?: number[];
  input?: string;
}

/** What the input file says, with what the options say in its place. */
async function readSetting({ input, gpus, gpusPerNode, loads }: SettingOptions): Promise<PlanSetting> {
  const given = input === undefined ? {} : asObject(await readJson(input), input);
  const setting: Record<string, unknown> = { ...given };
  if (gpus !== undefined) setting.gpus = gpus;
  if (gpusPerNode !== undefined) setting.gpusPerNode = gpusPerNode;
  if (loads !== undefined) setting.loads = loads;
  if (Array.isArray(setting.loads)) setting.experts ??= setting.loads.length;
  if (input === undefined && (gpus === undefined || loads === undefined)) {
    const missing = gpus === undefined ? (loads === undefined ? '--gpus and --loads' : '--gpus') : '--loads';
    throw new UsageError(
      `plan: found no ${missing}, allowed: --gpus 4 --loads 60,4,8,8,4,4,6,6, or --input with a file that says both`,
    );
  }
  if (setting.gpus === undefined) {
    throw new UsageError(`${input}: gpus: found nothing, allowed: a whole number ≥ 1 there, or --gpus`);
  }
  parseInput(planSettingSchema, setting, input ?? 'plan');
  return setting as PlanSetting;
}

function asObject(json: unknown, file: string): object {
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json;
  throw new UsageError(`${file}: found ${show(json)}, allowed: an object with gpus, experts and loads`);
}

/** @param where what a message is about: the input file where there is one */
function attempt<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`${where}: ${error.message}`);
    throw error;
  }
}

/** Reads the value of an option that is a whole number ≥ 1. */
function whole(option: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= 1) return value;
    throw new UsageError(`${option}: found '${text}', allowed: a whole number ≥ 1`);
  };
}

function list(text: string): number[] {
  return text.split(',').map((part) => {
    const value = Number(part);
    if (part.trim() === '' || !Number.isInteger(value) || value < 0) {
      throw new UsageError(`--loads: found '${part}', allowed: whole numbers ≥ 0 with commas between`);
    }
    return value;
  });
}

function planTable(plan: PlannedLayer): string {
  const slices = new Table({
    head: ['expert', 'copies [start, end) → GPU'],
    style: { head: [], border: [] },
  });
  for (const [expert, ranges] of plan.slices) {
    slices.push([expert, ranges.map(([gpu, start, end]) => `[${start}, ${end}) → ${gpu}`).join('   ')]);
  }
  const dropped = plan.dropped.flat().reduce((sum, copies) => sum + copies, 0);
  return [
    plan.gated ? 'The policy leaves this batch to standard EP.' : '',
    slices.toString(),
    `copies per GPU: ${plan.gpuLoads.join(', ')}`,
    `weight transfers: ${plan.transfers.map(({ expert, src, dst }) => `expert ${expert} ${src} → ${dst}`).join(', ') || 'none'}`,
    ...(dropped > 0 ? [`copies dropped: ${dropped}`] : []),
  ]
    .filter((line) => line !== '')
    .join('\n');
}
