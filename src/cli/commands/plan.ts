import { Command, Option } from '@commander-js/extra-typings';
import Table from 'cli-table3';
import { planLayer, type PlannedLayer, type PlanSetting, type PolicyInput } from '../../balancing/index.js';
import { readJson } from '../../files/index.js';
import { UsageError } from '../input-error.js';
import { parsePolicyArgument } from '../policy-argument.js';

export function planCommand() {
  return new Command('plan')
    .description("one layer's plan for given loads")
    .requiredOption('--policy <policy>', 'llep, llep:alpha=1.1, or JSON')
    .option('--gpus <n>', 'number of GPUs', whole)
    .option('--gpus-per-node <n>', 'GPUs of a node', whole)
    .option('--loads <list>', 'copies per expert, e.g. 60,4,8,8,4,4,6,6', list)
    .option('--input <file>', 'JSON with gpus, experts, and counts (source GPU × expert), loads or tokens')
    .addOption(
      new Option('--format <format>', 'how to print the plan').choices(['table', 'json']).default('table'),
    )
    .action(async (options) => {
      const given =
        options.input === undefined ? {} : ((await readJson(options.input)) as Partial<PlanSetting>);
      const loads = options.loads ?? given.loads;
      const setting = {
        ...given,
        ...(options.gpus === undefined ? {} : { gpus: options.gpus }),
        ...(options.gpusPerNode === undefined ? {} : { gpusPerNode: options.gpusPerNode }),
        ...(loads === undefined ? {} : { loads, experts: given.experts ?? loads.length }),
      } as PlanSetting;
      const policy = parsePolicyArgument(options.policy) as PolicyInput;
      const plan = attempt(() => planLayer(policy, setting));
      process.stdout.write(
        `${options.format === 'json' ? JSON.stringify(plan, null, 2) : planTable(plan)}\n`,
      );
    });
}

function attempt<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`plan: ${error.message}`);
    throw error;
  }
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`found '${text}', allowed: a whole number ≥ 1`);
  return value;
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
