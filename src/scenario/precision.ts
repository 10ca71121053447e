import { bitsOf, expertWeights } from '../hardware/index.js';
import {
  expertPrecision,
  modelBytes,
  otherWeights,
  planPrecision,
  precisionPlanSchema,
  rowsOfLayers,
  sensitivitySchema,
  uniformProxies,
  weightBytes,
  wholeModel,
  type ExpertPrecision,
  type MoeShape,
  type PrecisionOptions,
} from '../model/index.js';
import { parseInput } from './parse.js';
import { partsOf, ScenarioError } from './scenario-error.js';
import type { Scenario } from './schema.js';

/** What a result says of the bits at which experts are held. Bytes; layers are those of the routing. */
export interface PrecisionSummary {
  /** Mean bits per weight, and with scales. */
  averageBits: number;
  bitsInMemory: number;
  /** By layer and expert. */
  bits: number[][];
  /** Weights of the routed experts of all MoE layers, in proportion where the routing has fewer; and as shipped. */
  expertBytes: number;
  /** With all other weights of the model; null where the shape does not say them. */
  modelBytes: number | null;
  shippedBytes: number;
  /** Share of the weight bandwidth that de-quantising kernels are assumed to reach. */
  dequantisation: number;
  /**
   * Weighted loss Σ φ w^1.5 ε, mean over layers, of this plan and of experts that all have one width: a proxy, since no
   * accuracy is simulated. Null where the plan came without losses.
   */
  proxy: { plan: number; uniform: { bits: number; proxy: number }[] } | null;
}

/** The block that holds in a scenario's phase. */
export function precisionOptionsOf({ precision, workload }: Scenario): PrecisionOptions | undefined {
  if (precision === undefined || !('prefill' in precision || 'decode' in precision)) {
    return precision as PrecisionOptions | undefined;
  }
  return workload.phase === 'training' ? undefined : precision[workload.phase];
}

/**
 * @param layerIds of the routing
 * @param files what the files hold that the scenario names
 * @returns null where the experts are as the shape says
 * @throws ScenarioError
 */
export function resolvePrecision(
  scenario: Scenario,
  file: string,
  shape: MoeShape,
  layerIds: readonly number[],
  files: { sensitivity?: unknown; precisionPlan?: unknown },
): { precision: ExpertPrecision; summary: PrecisionSummary; notes: string[] } | null {
  if (scenario.precision !== undefined && scenario.workload.phase === 'training') {
    throw new ScenarioError(
      file,
      'precision',
      'bits of experts in training',
      'nothing: such experts are not trained',
    );
  }
  const options = precisionOptionsOf(scenario);
  if (options === undefined) return null;
  const path = scenario.precision === options ? 'precision' : `precision.${scenario.workload.phase}`;
  const refuse = (at: string, found: string, allowed: string): never => {
    throw new ScenarioError(file, at === '' ? path : `${path}.${at}`, found, allowed);
  };
  const shippedBits = bitsOf(shape.weightDtype);
  const planned = bitsByLayer(options, shape, layerIds, files, refuse);
  const precision = expertPrecision(planned.bits, options);
  const most = Math.max(...precision.bits.map((own) => own.reduce((a, b) => Math.max(a, b), 0)));
  if (most > shippedBits) {
    refuse(
      'bits',
      `${most} bits in memory`,
      `at most the ${shippedBits} of the expert weights (fewer bits or overheadBits, or model.weightDtype: bf16)`,
    );
  }
  if (options.restBits !== undefined && scenario.scope !== 'model') {
    refuse('restBits', String(options.restBits), 'nothing in scope layer, which holds routed experts only');
  }
  const weights = (shape.moeLayers * expertWeights(shape)) / layerIds.length;
  const experts = layerIds.length * shape.experts;
  const summary: PrecisionSummary = {
    averageBits: meanOf(planned.bits),
    bitsInMemory: meanOf(precision.bits),
    bits: planned.bits.map((own) => [...own]),
    expertBytes: modelBytes(precision.bits, weights, { weights: 0, bits: 0 }),
    modelBytes: allBytes(precision, weights, shape),
    shippedBytes: (experts * weights * shippedBits) / 8,
    dequantisation: options.dequantisation,
    proxy: planned.proxy,
  };
  return { precision, summary, notes: notesOf(summary, precision, shippedBits) };
}

/** Bytes of all weights of a model; null where its shape does not say what else there is. @param weights of an expert */
function allBytes({ bits, restBits }: ExpertPrecision, weights: number, shape: MoeShape): number | null {
  const { attention, vocabulary, denseLayers, denseHiddenSize } = shape;
  if (attention === undefined || vocabulary === undefined) return null;
  if (denseLayers > 0 && denseHiddenSize === undefined) return null;
  const model = wholeModel(shape);
  const others = otherWeights(model);
  return modelBytes(bits, weights, {
    weights: others,
    bits: restBits ?? (8 * weightBytes(model)) / others,
  });
}

type Refuse = (at: string, found: string, allowed: string) => never;

interface PlannedBits {
  bits: readonly (readonly number[])[];
  proxy: PrecisionSummary['proxy'];
}

function bitsByLayer(
  { bits, sensitivity, averageBits }: PrecisionOptions,
  { experts, name }: MoeShape,
  layerIds: readonly number[],
  files: { sensitivity?: unknown; precisionPlan?: unknown },
  refuse: Refuse,
): PlannedBits {
  if ((bits === undefined) === (sensitivity === undefined)) {
    return refuse(
      '',
      bits === undefined ? 'neither bits nor sensitivity' : 'bits and sensitivity',
      'one of them: "bits": 2, or "sensitivity": "file.json" with "averageBits": 2.5',
    );
  }
  if ((sensitivity === undefined) !== (averageBits === undefined)) {
    return refuse(
      'averageBits',
      averageBits === undefined ? 'nothing beside sensitivity' : `${averageBits} beside bits`,
      averageBits === undefined ? 'mean bits that the plan may spend (averageBits: 2.5)' : 'nothing',
    );
  }
  const checkExperts = (rows: readonly (readonly unknown[])[], at: string, what: string) => {
    const other = rows.find((own) => own.length !== experts);
    if (other) refuse(at, `${what} of ${other.length} experts`, `one of the ${experts} experts of ${name}`);
  };
  const within = <T>(at: string, make: () => T): T => {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const { found, allowed } = partsOf(error.message, at);
      return refuse(at, found, allowed);
    }
  };
  if (sensitivity !== undefined) {
    const given = parseInput(sensitivitySchema, files.sensitivity, sensitivity);
    checkExperts(given.counts, 'sensitivity', `${sensitivity}, losses`);
    const plan = within('averageBits', () => planPrecision(given, averageBits!));
    const layers = within('sensitivity', () =>
      rowsOfLayers([...given.counts.keys()], given.layerIds, layerIds),
    );
    const mean = (of: (layer: number) => number) =>
      layers.reduce((sum, layer) => sum + of(layer), 0) / layers.length;
    return {
      bits: layers.map((layer) => plan.bits[layer]),
      proxy: {
        plan: mean((layer) => plan.proxy[layer]),
        uniform: given.bits.map((own, width) => ({
          bits: own,
          proxy: mean((layer) => uniformProxies(given, layer)[width]),
        })),
      },
    };
  }
  if (typeof bits === 'string') {
    const plan = parseInput(precisionPlanSchema, files.precisionPlan, bits);
    checkExperts(plan.bits, 'bits', `${bits}, a plan`);
    return { bits: within('bits', () => rowsOfLayers(plan.bits, plan.layerIds, layerIds)), proxy: null };
  }
  const rows =
    typeof bits === 'number' ? [new Array<number>(experts).fill(bits)] : isTable(bits!) ? bits : [bits!];
  checkExperts(rows, 'bits', 'a list');
  return { bits: within('bits', () => rowsOfLayers(rows, undefined, layerIds)), proxy: null };
}

function isTable(bits: readonly number[] | readonly (readonly number[])[]): bits is number[][] {
  return Array.isArray(bits[0]);
}

function notesOf(
  {
    averageBits,
    bitsInMemory,
    expertBytes,
    modelBytes: all,
    shippedBytes,
    dequantisation,
    proxy,
  }: PrecisionSummary,
  { bits }: ExpertPrecision,
  shippedBits: number,
): string[] {
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  const slowest = Math.max(...bits.flatMap((own) => [...own]));
  const slower = slowest < shippedBits && slowest / dequantisation > shippedBits;
  return [
    `precision: ${averageBits.toFixed(2)} bits per expert weight (${bitsInMemory.toFixed(2)} in memory with scales), ` +
      `experts of all layers ${gigabytes(expertBytes)} instead of ${gigabytes(shippedBytes)}` +
      `${all === null ? '' : `, all weights ${gigabytes(all)}`}; de-quantising kernels ` +
      `reach ${(100 * dequantisation).toFixed(0)} % of the weight bandwidth (assumed), products run at the shipped rate`,
    ...(slower
      ? [
          `precision: at that efficiency experts of ${slowest} bits are read more slowly than the ${shippedBits} they ` +
            'shipped in',
        ]
      : []),
    proxy === null
      ? 'precision: what it does to the output is not simulated'
      : `precision: weighted loss Σφw^1.5ε ${proxy.plan.toPrecision(3)} ` +
        `(${proxy.uniform.map((own) => `all at ${own.bits} bits ${own.proxy.toPrecision(3)}`).join(', ')}): a proxy, ` +
        'accuracy is not simulated',
  ];
}

function meanOf(rows: readonly ArrayLike<number>[]): number {
  let sum = 0;
  let count = 0;
  for (const row of rows) {
    for (let i = 0; i < row.length; i++) sum += row[i];
    count += row.length;
  }
  return sum / count;
}
