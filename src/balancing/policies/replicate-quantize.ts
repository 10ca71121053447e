import { z } from 'zod';
import { precisionCosts, rowOfLayer, rowsOfLayers } from '../../model/index.js';
import { randomStream, shuffle } from '../../routing/index.js';
import { replicatedExperts, splitOverReplicas, splits } from '../dispatch/split-over-replicas.js';
import type { Placement } from '../placement.js';
import { planningFields } from '../movement/rule.js';
import {
  donorsNeeded,
  replicateQuantize,
  type ReplicateQuantizeRule,
} from '../placements/replicate-quantize.js';
import { homePlan, Slices, type LayerPlan, type PlacementMove, type Planning } from '../plan.js';
import { drawSeed, plainTraits, type Policy, type PolicySetting, type Refusal } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('replicate-quantize'),
  replicas: z.int().min(0).default(1).describe('Replicas per layer.'),
  bits: z
    .int()
    .min(1)
    .max(16)
    .default(8)
    .describe('Bits per weight of replicas and of the experts that pay for them.'),
  donors: z
    .enum(['global', 'per-gpu'])
    .default('global')
    .describe(
      'Who pays for replicas: the least important experts of all, or of the GPU that gets the replica.',
    ),
  sensitivity: z
    .string()
    .regex(/\.json$/, 'the path of a .json file')
    .optional()
    .describe(
      'Instead of importance: a file with what each precision costs each expert (epsim/sensitivity@1). Who pays, and at ' +
        'which of its widths, is then what costs least in all.',
    ),
  split: z.enum(splits).default('random').describe('How copies are divided over the instances of an expert.'),
  calibrationShare: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.1)
    .describe('Share of a recording that heavy hitters are found on; no policy of the run replays it.'),
  replanEvery: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('Plan anew every so many steps, from the loads of the steps since the last plan; null: never.'),
  planSecondsPerExpert: planningFields.planSecondsPerExpert,
});

type Options = z.infer<typeof options>;

interface LayerState {
  placement: Placement;
  replicated: Map<number, number[]>;
  /** Copies by expert since the last plan. */
  window: Float64Array;
  plan: LayerPlan;
}

export interface State {
  options: Options;
  setting: PolicySetting;
  /** Rules of every layer. */
  rules: readonly ReplicateQuantizeRule[];
  importance: readonly (readonly number[])[];
  slices: Slices;
  layers: LayerState[];
}

/** Replicate-and-quantize: static (or re-planned) replicas of hot experts at low precision. Inexact. */
export const replicateAndQuantize: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'replicate-quantize',
  summary: 'copies hot experts at low precision, paid for by quantising unimportant ones; inexact',
  options,
  exact: ({ replicas }) => replicas === 0,
  sees: () => 'history',
  symmetric: false,
  calibrationShare: ({ calibrationShare }) => calibrationShare,
  warmup: ({ replanEvery }) => replanEvery ?? 0,
  refusal,
  trainingRefusal: ({ replicas }) =>
    replicas === 0
      ? null
      : {
          option: 'replicas',
          found: `${replicas}, at a precision that has no gradient`,
          allowed: '0 in training (or workload.phase: "prefill")',
        },
  notes({ replicas, sensitivity }, { importance }) {
    return importance === null && replicas > 0 && sensitivity === undefined
      ? [
          'replicate-quantize: the routing knows no importance of experts; donors follow a seeded random ranking',
        ]
      : [];
  },
  start(chosen, setting) {
    const importance = setting.importance ?? randomImportance(setting);
    const rules = rulesOf(chosen, setting);
    const calibrated = setting.calibration(chosen.calibrationShare);
    const slices = new Slices(setting.gpus * 4);
    const layers = calibrated.map((loads, layer) => {
      const placement = replicateQuantize(
        setting.placement,
        loads,
        importance[layer],
        setting.weightBits,
        rules[layer],
      );
      return newLayer(placement, slices, setting.experts);
    });
    return { options: chosen, setting, rules, importance, slices, layers };
  },
  decide(state, view) {
    const { step, layer, counts, loads } = view;
    const { replanEvery, split } = state.options;
    let own = state.layers[layer];
    let move: PlacementMove | null = null;
    let planning: Planning | null = null;
    if (replanEvery !== null) {
      if (step > 0 && step % replanEvery === 0) {
        const { setting, importance, rules } = state;
        const next = replicateQuantize(
          setting.placement,
          own.window,
          importance[layer],
          setting.weightBits,
          rules[layer],
        );
        move = movesBetween(own.placement, next);
        own = state.layers[layer] = newLayer(next, state.slices, setting.experts);
        const seconds = state.options.planSecondsPerExpert * setting.experts;
        planning = { seconds, stalls: true, expected: null };
      }
      for (let e = 0; e < loads.length; e++) own.window[e] += loads[e];
    }
    if (own.replicated.size > 0) {
      splitOverReplicas(own.replicated, own.placement, counts, loads, split, drawSeed(view), state.slices);
    }
    own.plan.move = move;
    own.plan.planning = planning;
    return { state, plan: own.plan };
  },
};

/** The rule of every layer, with what the file says of its experts. */
function rulesOf(options: Options, { sensitivities, layers, layerIds, weightBits }: PolicySetting) {
  const { sensitivity: path, replicas, bits, donors } = options;
  const rule: ReplicateQuantizeRule = { replicas, bits, donors };
  if (path === undefined) return new Array<ReplicateQuantizeRule>(layers).fill(rule);
  const { counts, gateWeights, losses, ...table } = sensitivities!.get(path)!;
  const lower = table.bits.filter((own) => own < weightBits);
  return rowsOfLayers([...counts.keys()], table.layerIds, layerIds).map((row) => {
    const costs = precisionCosts({ counts: counts[row], gateWeights: gateWeights[row], losses: losses[row] });
    // Widths rise, so that those below the shipped one come first.
    return { ...rule, losses: { bits: lower, costs: costs.map((own) => own.slice(0, lower.length)) } };
  });
}

function newLayer(placement: Placement, slices: Slices, experts: number): LayerState {
  const replicated = replicatedExperts(placement);
  return {
    placement,
    replicated,
    window: new Float64Array(experts),
    plan: { ...homePlan(placement), slices: replicated.size > 0 ? slices : null },
  };
}

function refusal(options: Options, setting: PolicySetting): Refusal | null {
  const { replicas, bits, donors, sensitivity } = options;
  const { gpus, experts, weightBits } = setting;
  if (replicas === 0) return null;
  if (setting.expertBits?.some((layer) => layer.some((own) => own !== weightBits))) {
    return {
      option: 'replicas',
      found: `${replicas} beside precision, whose experts have fewer bits to pay with`,
      allowed: '0, or no precision in the scenario',
    };
  }
  if (bits >= weightBits) {
    const most = Math.ceil(weightBits) - 1;
    const wider = bits < 16 ? '; or model.weightDtype: bf16' : '';
    return {
      option: 'bits',
      found: String(bits),
      allowed:
        `1 to ${most}, below the ${weightBits} bits of the expert weights, or quantising an expert saves nothing to ` +
        `pay a replica with (bits: ${Math.min(4, most)}${wider})`,
    };
  }
  if (gpus === 1) {
    return {
      option: 'replicas',
      found: `${replicas} on one GPU`,
      allowed: '0: a replica needs a second GPU',
    };
  }
  const most = experts * (gpus - 1);
  if (replicas > most) {
    return {
      option: 'replicas',
      found: String(replicas),
      allowed: `at most ${most} (every expert once per GPU)`,
    };
  }
  if (sensitivity !== undefined) return sensitivityRefusal(options, setting);
  const needed = donorsNeeded(replicas, bits, weightBits);
  const available = experts - Math.min(experts, replicas);
  if (needed > available) {
    return {
      option: 'replicas',
      found: `${replicas}, which at ${bits} of ${weightBits} bits need ${needed} experts to pay for them`,
      allowed: `what the ${available} experts that are not replicated themselves can pay: fewer replicas, or fewer bits`,
    };
  }
  const fewest = Math.floor(experts / gpus);
  if (donors === 'per-gpu' && donorsNeeded(1, bits, weightBits) > fewest) {
    return {
      option: 'donors',
      found: `per-gpu, where a replica needs ${donorsNeeded(1, bits, weightBits)} experts of a GPU to pay for it, of ${fewest}`,
      allowed: 'global, or fewer bits',
    };
  }
  return null;
}

/** What is wrong with the file, or with what it can pay. */
function sensitivityRefusal(
  { replicas, bits, donors, sensitivity: path }: Options,
  { experts, weightBits, layerIds, sensitivities }: PolicySetting,
): Refusal | null {
  if (donors === 'per-gpu') {
    return { option: 'donors', found: 'per-gpu beside sensitivity', allowed: 'global' };
  }
  const refuse = (found: string, allowed: string): Refusal => ({
    option: 'sensitivity',
    found: `${path!}, ${found}`,
    allowed,
  });
  const table = sensitivities?.get(path!);
  if (table === undefined) return refuse('which was not opened', 'a file of a scenario (epsim run)');
  if (table.counts[0].length !== experts) {
    return refuse(`of ${table.counts[0].length} experts`, `one of the model's ${experts}`);
  }
  const lower = table.bits.filter((own) => own < weightBits);
  if (lower.length === 0 || !Number.isInteger(weightBits)) {
    return refuse(
      `widths of ${table.bits.join(', ')} bits beside ${weightBits} as shipped`,
      'whole bits, some of them below those shipped (model.weightDtype: bf16)',
    );
  }
  const missing = layerIds.find((id) => rowOfLayer(table.counts, table.layerIds, id) === undefined);
  if (missing !== undefined) {
    return refuse(`without layer ${missing}`, 'a row for every layer, or one for all');
  }
  const available = experts - Math.min(experts, replicas);
  if (available * (weightBits - lower[0]) < replicas * bits) {
    return {
      option: 'replicas',
      found: `${replicas} at ${bits} bits, more than the ${available} other experts can pay at ${lower[0]} of ${weightBits}`,
      allowed: 'fewer replicas, or fewer bits',
    };
  }
  return null;
}

function randomImportance({ layers, experts, seed }: PolicySetting): number[][] {
  return Array.from({ length: layers }, (_, layer) =>
    shuffle(
      Array.from({ length: experts }, (__, rank) => rank),
      randomStream(seed, `importance/${layer}`),
    ),
  );
}

/** Replicas that are new, and slots whose precision changes; lost precision comes back from host memory. */
function movesBetween(from: Placement, to: Placement): PlacementMove {
  const before = bitsBySlot(from);
  const move: PlacementMove = { loads: [], conversions: [] };
  for (const [key, bits] of bitsBySlot(to)) {
    const [expert, gpu] = key.split('@').map(Number);
    const old = before.get(key);
    if (old === undefined) move.loads.push({ expert, source: to.home[expert], destination: gpu, bits });
    else if (bits < old) move.conversions.push({ expert, gpu, fromBits: old, toBits: bits });
    else if (bits > old) move.loads.push({ expert, source: -1, destination: gpu, bits });
  }
  return move;
}

function bitsBySlot({ gpus, firstSlot, slotExpert, slotBits }: Placement): Map<string, number> {
  const bits = new Map<string, number>();
  for (let gpu = 0; gpu < gpus; gpu++) {
    for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) {
      bits.set(`${slotExpert[slot]}@${gpu}`, slotBits[slot]);
    }
  }
  return bits;
}
