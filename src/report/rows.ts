import { stringify } from 'csv-stringify/sync';
import { policyLabel } from '../balancing/index.js';
import type { BalanceObserver, PolicyResult, Result, TrainingResult } from '../simulation/index.js';
import { passSeconds } from './training.js';
import { lossOf } from './verdict.js';

/** Seconds of a pass of a training step on the critical path; null where nothing is trained. */
function secondsOf({ training }: PolicyResult, pass: keyof TrainingResult['critical']): number | null {
  return training === null ? null : passSeconds(training, pass);
}

/** Gradients of weights on the links, on their way home and reduced; null where nothing is trained. */
function gradientBytesOf({ training }: PolicyResult): number | null {
  if (training === null) return null;
  const { borrowed, replicas, reduced } = training.bytes.gradients;
  return borrowed + replicas + reduced;
}

/** What stands in a column. */
export type ColumnType = 'number' | 'boolean' | 'text';

/** A cell: JSON's plain values, so that rows can be kept as JSON. */
export type Cell = number | boolean | string | null;

/** The columns of a policy's row: seconds, bytes, copies. */
const COLUMNS: readonly [string, ColumnType, (p: PolicyResult, result: Result) => Cell][] = [
  ['scenario', 'text', (_, result) => result.scenario.name ?? ''],
  ['policy', 'text', (p) => policyLabel(p.policy)],
  ['anchor', 'boolean', (p) => p.anchor],
  ['exact', 'boolean', (p) => p.exact],
  ['step_mean_s', 'number', (p) => p.stepLatency.mean],
  ['step_mean_low_s', 'number', (p) => p.stepLatency.low],
  ['step_mean_high_s', 'number', (p) => p.stepLatency.high],
  ['step_p50_s', 'number', (p) => p.stepLatency.p50],
  ['step_p95_s', 'number', (p) => p.stepLatency.p95],
  ['step_p99_s', 'number', (p) => p.stepLatency.p99],
  ['step_max_s', 'number', (p) => p.stepLatency.max],
  ['steps', 'number', (p) => p.stepLatency.steps],
  ['effective_steps', 'number', (p) => p.stepLatency.effectiveSteps],
  ['speedup', 'number', (p) => p.speedup.mean],
  ['speedup_low', 'number', (p) => p.speedup.low],
  ['speedup_high', 'number', (p) => p.speedup.high],
  ['tokens_per_second_per_gpu', 'number', (p) => p.tokensPerSecondPerGpu],
  ['peak_memory_bytes', 'number', (p) => p.peakMemory.max],
  ['memory_verdict', 'text', (p) => p.peakMemory.verdict],
  ['gamma_gpu_before', 'number', (p) => p.imbalance.gpu.before.maxOverMean],
  ['gamma_gpu_after', 'number', (p) => p.imbalance.gpu.after.maxOverMean],
  ['gamma_gpu_floor', 'number', (p) => p.imbalance.gpu.floor],
  ['gamma_expert_before', 'number', (p) => p.imbalance.expert.before.maxOverMean],
  ['gamma_expert_after', 'number', (p) => p.imbalance.expert.after.maxOverMean],
  ['copies_routed', 'number', (p) => p.copies.routed],
  ['copies_dropped', 'number', (p) => p.copies.dropped],
  ['copies_moved', 'number', (p) => p.copies.moved],
  ['loss_share', 'number', (p) => lossOf(p)],
  ['dispatch_bytes', 'number', (p) => p.bytes.dispatch],
  ['combine_bytes', 'number', (p) => p.bytes.combine],
  ['weight_bytes', 'number', (p) => p.bytes.weights],
  ['metadata_bytes', 'number', (p) => p.bytes.metadata],
  [
    'gated_share',
    'number',
    (p, result) =>
      p.gatedLayers /
      (result.routing.steps *
        (p.training?.microBatches ?? 1) *
        (result.scenario.scope === 'model' ? result.moeLayers : result.routing.layers.length)),
  ],
  ['bound_s', 'number', (p) => p.bound?.stepLatency ?? null],
  ['bound_gap', 'number', (p) => p.bound?.gap ?? null],
  ['dropped_share', 'number', (p) => p.copies.dropped / p.copies.routed],
  ['quantised_share', 'number', (p) => (p.loss?.quantisedCopies ?? 0) / p.copies.routed],
  ['gate_mass_left', 'number', (p) => p.loss?.keptGateMass ?? null],
  ['rewritten_share', 'number', (p) => (p.loss?.rewritten?.copies ?? 0) / p.copies.routed],
  ['gpus_per_token', 'number', (p) => p.loss?.rewritten?.gpusPerToken.rewritten ?? null],
  // Of the whole model; null in scope layer.
  ['cost_per_million_tokens', 'number', (p) => p.serving?.costPerMillionTokens ?? null],
  ['kv_tokens_per_gpu', 'number', (p) => p.memory?.kvTokens.room ?? null],
  ['attention_wait_s', 'number', (p) => p.time.waitingFor?.source ?? null],
  ['expert_wait_s', 'number', (p) => p.time.waitingFor?.experts ?? null],
  // Of a training; null else.
  ['forward_s', 'number', (p) => secondsOf(p, 'forward')],
  ['recompute_s', 'number', (p) => secondsOf(p, 'recompute')],
  ['backward_s', 'number', (p) => secondsOf(p, 'backward')],
  ['update_s', 'number', (p) => secondsOf(p, 'update')],
  ['pipeline_idle', 'number', (p) => p.training?.idle ?? null],
  ['gradient_bytes', 'number', (p) => gradientBytesOf(p)],
  [
    'saved_bytes',
    'number',
    (p) => (p.training === null ? null : (p.peakMemory.byCategory.savedForBackward ?? 0)),
  ],
  ['interval', 'text', (_, result) => result.routing.interval],
  ['profile', 'text', (_, result) => result.profile.name],
  ['profile_status', 'text', (_, result) => result.profile.status],
  ['notes', 'text', (_, result) => result.routing.notes.join(' | ')],
];

export const resultColumns: readonly { name: string; type: ColumnType }[] = COLUMNS.map(([name, type]) => ({
  name,
  type,
}));

/** The row of one policy, in the order of `resultColumns`. */
export function resultRow(result: Result, policy: PolicyResult): Cell[] {
  return COLUMNS.map(([, , cell]) => cell(policy, result));
}

/** One row per policy: seconds, bytes, copies. */
export function resultCsv(results: readonly Result[]): string {
  const rows = results.flatMap((result) => result.policies.map((policy) => resultRow(result, policy)));
  return stringify([resultColumns.map(({ name }) => name), ...rows], { cast: { boolean: String } });
}

/**
 * One row per (step, layer), in scope `model` and in training per step, and a column of seconds per policy.
 * @param latencies by policy, [step · layers + layer], or [step]
 * @param balance adds balance metrics of every layer, in scope `layer`
 */
export function stepsCsv(
  result: Result,
  latencies: readonly Float64Array[],
  balance: BalanceObserver | null,
): string {
  const whole = result.scenario.scope === 'model' || result.policies[0].training !== null;
  const layers = whole ? ['all'] : result.routing.layers;
  const columns = [
    'step',
    'layer',
    ...result.policies.map(({ policy }) => policyLabel(policy)),
    ...((!whole && balance?.layerColumns) || []),
  ];
  const rows = Array.from(latencies[0], (_, i) => {
    const [step, layer] = [Math.floor(i / layers.length), i % layers.length];
    const values = (!whole && balance?.layerValues(step, layer)) || [];
    return [step, layers[layer], ...latencies.map((series) => series[i]), ...values];
  });
  return stringify([columns, ...rows]);
}
