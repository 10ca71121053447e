import { z } from 'zod';
import type { TokenTable } from '../routing/index.js';
import { LayerLoads, LayerWork } from './layer-work.js';
import { placementOf, slotsByGpu, type Placement } from './placement.js';
import { contiguous } from './placements/contiguous.js';
import { Slices, type LayerPlan, type SlotCopies } from './plan.js';
import { policyOf, policies, type PolicyInput, type PolicyOptions } from './policies/index.js';
import type { PolicySetting } from './policy.js';

const whole = z.int().min(0);

/** What a layer's setting must look like; `planLayer` checks what its parts say of each other. */
export const planSettingSchema = z.strictObject({
  gpus: z.int().min(1),
  gpusPerNode: z.int().min(1).optional(),
  experts: z.int().min(1),
  counts: z.array(z.array(whole)).optional(),
  loads: z.array(whole).optional(),
  tokens: z
    .strictObject({
      experts: z.array(z.array(whole).min(1)),
      weights: z.array(z.array(z.number().min(0))).optional(),
      sourceGpu: z.array(whole),
    })
    .optional(),
  placement: z.array(whole).optional(),
  importance: z.array(z.number()).optional(),
  weightBits: z.number().positive().default(16),
  seed: z.union([z.number(), z.string()]).default(1),
});

/** A layer to plan for: counts (source GPU × expert), or loads by expert, or tokens. */
export type PlanSetting = z.input<typeof planSettingSchema>;

/** A plan in plain numbers. */
export interface PlannedLayer {
  /** [expert, [gpu, start, end][]] in processing order, experts without copies left out. */
  slices: [number, [number, number, number][]][];
  /** Weight transfers as raw as the policy asks for them: a pair may repeat. */
  transfers: { expert: number; src: number; dst: number; start: number; end: number }[];
  /** Copies that each GPU computes. */
  gpuLoads: number[];
  /** Copies (and padding rows) from each source to each GPU; absent where only loads are known. */
  sendMatrix?: number[][];
  /** Expert of every slot, slots in GPU order. */
  placement: number[];
  /** The same by GPU. */
  placementByGpu: number[][];
  /** Copies dropped, source GPU × expert. */
  dropped: number[][];
  /** 1 where a token's copy of an expert is kept, token × expert; where tokens are given. */
  keptMap?: number[][];
  /** True where the policy left the batch to standard EP. */
  gated: boolean;
}

/**
 * One layer's plan of a policy. Replicate-and-quantize takes the given loads for its calibration too.
 *
 * @param policy a policy's name, or its options with `kind`
 * @throws RangeError that says what was found and what is allowed
 */
export function planLayer(policy: PolicyInput, setting: PlanSetting): PlannedLayer {
  const options = policyOptions(policy);
  const rule = policyOf(options);
  if (rule.anchor) {
    throw new RangeError(
      `policy: found ${options.kind}, an anchor that states loads and plans nothing, allowed: ` +
        policies
          .filter(({ anchor }) => !anchor)
          .map(({ kind }) => kind)
          .join(', '),
    );
  }
  const parsed = planSettingSchema.safeParse(setting);
  if (!parsed.success) throw new RangeError(z.prettifyError(parsed.error));
  const given = parsed.data;
  const { gpus, experts, gpusPerNode = gpus } = given;
  if (gpus % gpusPerNode !== 0) {
    throw new RangeError(`gpusPerNode: found ${gpusPerNode}, allowed: a divisor of gpus = ${gpus}`);
  }
  const tokens = given.tokens ? tokenTable(given.tokens, gpus, experts) : null;
  const counts = countsOf(given, tokens);
  if (given.placement && given.placement.length % gpus !== 0) {
    throw new RangeError(
      `placement: found ${given.placement.length} slots, allowed: a multiple of gpus = ${gpus}`,
    );
  }
  const placement = given.placement
    ? placementOf(rows(given.placement, gpus), experts, given.weightBits)
    : contiguous(gpus, experts, given.weightBits);
  const knowsSources = given.counts !== undefined || tokens !== null;
  if (options.kind === 'capacity' && !knowsSources) {
    throw new RangeError('capacity: found loads only, allowed: counts (source GPU × expert) or tokens');
  }

  const base = new LayerLoads(gpus, experts, placement.home).count(counts);
  const policySetting: PolicySetting = {
    gpus,
    gpusPerNode,
    experts,
    layers: 1,
    layerIds: [0],
    moeLayers: 1,
    weightBits: given.weightBits,
    placement,
    copiesPerGpu: null,
    hasTokens: tokens !== null,
    hasGateWeights: tokens?.weights != null,
    calibration: () => [base.loads],
    importance: given.importance ? [given.importance] : null,
    placementMaps: new Map(),
    seed: given.seed,
  };
  const refusal = rule.refusal(options, policySetting);
  if (refusal !== null) {
    const { option, found, allowed } = refusal;
    throw new RangeError(`${options.kind}.${option}: found ${found}, allowed: ${allowed}`);
  }
  const { plan } = rule.decide(rule.start(options, policySetting), {
    step: 0,
    layer: 0,
    counts,
    loads: base.loads,
    tokensBySource: tokens ? tokensBySource(tokens, gpus) : null,
    tokens,
    seed: given.seed,
  });
  return describe(plan, base, given.weightBits, tokens, knowsSources);
}

/**
 * The options of a policy, with defaults for what they do not say.
 * @throws RangeError that says what was found and what is allowed
 */
export function policyOptions(policy: string | object): PolicyOptions {
  const options = typeof policy === 'string' ? { kind: policy } : policy;
  const kind = 'kind' in options ? options.kind : undefined;
  const found = policies.find((candidate) => candidate.kind === kind);
  if (!found) {
    throw new RangeError(`policy: found ${String(kind)}, allowed: ${policies.map((p) => p.kind).join(', ')}`);
  }
  const parsed = found.options.safeParse(options);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue.code !== 'unrecognized_keys')
    throw new RangeError(`${found.kind}: ${z.prettifyError(parsed.error)}`);
  const known = Object.keys(found.options.parse({ kind: found.kind })).filter((key) => key !== 'kind');
  throw new RangeError(
    `${found.kind}: found unknown option ${issue.keys[0]}, allowed: ${known.join(', ') || 'none'}`,
  );
}

function tokenTable(
  { experts, weights, sourceGpu }: NonNullable<z.output<typeof planSettingSchema>['tokens']>,
  gpus: number,
  expertCount: number,
): TokenTable {
  const topK = experts[0]?.length ?? 1;
  if (experts.some((row) => row.length !== topK))
    throw new RangeError(
      `tokens.experts: found rows of different length, allowed: as many experts for every token`,
    );
  if (sourceGpu.length !== experts.length) {
    throw new RangeError(`tokens.sourceGpu: found ${sourceGpu.length} numbers, allowed: ${experts.length}`);
  }
  if (weights && (weights.length !== experts.length || weights.some((row) => row.length !== topK))) {
    throw new RangeError('tokens.weights: found another shape, allowed: that of tokens.experts');
  }
  const badExpert = experts.flat().find((expert) => expert >= expertCount);
  if (badExpert !== undefined)
    throw new RangeError(`tokens.experts: found ${badExpert}, allowed: 0 to ${expertCount - 1}`);
  const badGpu = sourceGpu.find((gpu) => gpu >= gpus);
  if (badGpu !== undefined)
    throw new RangeError(`tokens.sourceGpu: found ${badGpu}, allowed: 0 to ${gpus - 1}`);
  return {
    count: experts.length,
    topK,
    experts: Uint16Array.from(experts.flat()),
    source: Uint16Array.from(sourceGpu),
    weights: weights ? Float32Array.from(weights.flat()) : null,
  };
}

function countsOf(given: z.output<typeof planSettingSchema>, tokens: TokenTable | null): Int32Array {
  const { gpus, experts } = given;
  const counts = new Int32Array(gpus * experts);
  if (given.counts) {
    if (given.counts.length !== gpus || given.counts.some((row) => row.length !== experts)) {
      throw new RangeError(`counts: found another shape, allowed: ${gpus} source GPUs × ${experts} experts`);
    }
    counts.set(given.counts.flat());
  } else if (tokens) {
    tokens.experts.forEach(
      (expert, copy) => counts[tokens.source[Math.floor(copy / tokens.topK)] * experts + expert]++,
    );
  } else if (given.loads) {
    if (given.loads.length !== experts) {
      throw new RangeError(`loads: found ${given.loads.length} numbers, allowed: ${experts}`);
    }
    // Of loads alone the sources are not known: each has an equal part.
    given.loads.forEach((load, expert) => {
      for (let gpu = 0; gpu < gpus; gpu++) {
        const isOneMore = (gpu + expert) % gpus < load % gpus;
        counts[gpu * experts + expert] = Math.floor(load / gpus) + (isOneMore ? 1 : 0);
      }
    });
  } else {
    throw new RangeError('found no counts, loads or tokens, allowed: one of them');
  }
  return counts;
}

function tokensBySource({ source }: TokenTable, gpus: number): Int32Array {
  const count = new Int32Array(gpus);
  for (const gpu of source) count[gpu]++;
  return count;
}

function describe(
  plan: LayerPlan,
  base: LayerLoads,
  weightBits: number,
  tokens: TokenTable | null,
  knowsSources: boolean,
): PlannedLayer {
  const { gpus, experts, counts } = base;
  const slices = plan.slotCopies ? slicesOfSlots(plan.placement, plan.slotCopies) : plan.slices;
  const work = new LayerWork(gpus, experts, 1, weightBits).expand(plan, base);
  const kept = plan.drop?.kept ?? counts;
  return {
    slices: slicesOf(plan.placement, slices, kept, experts),
    transfers: transfersOf(plan),
    gpuLoads: Array.from(work.copies),
    ...(knowsSources ? { sendMatrix: rows(Array.from(work.send), gpus) } : {}),
    placement: slotsByGpu(plan.placement).flat(),
    placementByGpu: slotsByGpu(plan.placement),
    dropped: rows(
      Array.from(counts, (copies, cell) => copies - kept[cell]),
      gpus,
    ),
    ...(tokens ? { keptMap: keptMapOf(tokens, plan.drop?.keptCopies ?? null, experts) } : {}),
    gated: plan.gated,
  };
}

/** Copies by slot as ranges: those of a source GPU go to the expert's instances in their order. */
function slicesOfSlots(placement: Placement, { gpus, slots, copies }: SlotCopies): Slices {
  const { experts, firstInstance, instance, slotGpu } = placement;
  const slices = new Slices(slots);
  for (let e = 0; e < experts; e++) {
    let position = 0;
    for (let source = 0; source < gpus; source++) {
      for (let i = firstInstance[e]; i < firstInstance[e + 1]; i++) {
        const amount = copies[source * slots + instance[i]];
        if (amount === 0) continue;
        const gpu = slotGpu[instance[i]];
        const last = slices.count - 1;
        if (position > 0 && slices.gpu[last] === gpu) slices.end[last] += amount;
        else slices.add(e, gpu, position, position + amount);
        position += amount;
      }
    }
  }
  return slices;
}

function slicesOf(
  placement: Placement,
  slices: Slices | null,
  kept: Int32Array,
  experts: number,
): PlannedLayer['slices'] {
  const listed = new Map<number, [number, number, number][]>();
  for (let i = 0; i < (slices?.count ?? 0); i++) {
    const { expert, gpu, start, end } = slices!;
    const own = listed.get(expert[i]) ?? [];
    own.push([gpu[i], start[i], end[i]]);
    listed.set(expert[i], own);
  }
  for (let e = 0; e < experts; e++) {
    if (listed.has(e)) continue;
    let load = 0;
    for (let cell = e; cell < kept.length; cell += experts) load += kept[cell];
    if (load > 0) listed.set(e, [[placement.home[e], 0, load]]);
  }
  return [...listed];
}

function transfersOf({ transfers }: LayerPlan): PlannedLayer['transfers'] {
  return Array.from({ length: transfers?.count ?? 0 }, (_, i) => ({
    expert: transfers!.expert[i],
    src: transfers!.source[i],
    dst: transfers!.destination[i],
    start: transfers!.start[i],
    end: transfers!.end[i],
  }));
}

function keptMapOf(
  { count, topK, experts }: TokenTable,
  kept: Uint8Array | null,
  expertCount: number,
): number[][] {
  return Array.from({ length: count }, (_, token) => {
    const row = new Array<number>(expertCount).fill(0);
    for (let copy = token * topK; copy < (token + 1) * topK; copy++)
      if (!kept || kept[copy]) row[experts[copy]] = 1;
    return row;
  });
}

function rows(flat: readonly number[], count: number): number[][] {
  const width = flat.length / count;
  return Array.from({ length: count }, (_, i) => flat.slice(i * width, (i + 1) * width));
}
