import { stringify } from 'csv-stringify/sync';
import { policyLabel } from '../balancing/index.js';
import type { Result } from '../simulation/index.js';
import { lossOf } from './verdict.js';

/** One row per policy: seconds, bytes, copies. */
export function resultCsv(results: readonly Result[]): string {
  const rows = results.flatMap((result) =>
    result.policies.map((p) => ({
      scenario: result.scenario.name ?? '',
      policy: policyLabel(p.policy),
      anchor: p.anchor,
      exact: p.exact,
      step_mean_s: p.stepLatency.mean,
      step_mean_low_s: p.stepLatency.low,
      step_mean_high_s: p.stepLatency.high,
      step_p50_s: p.stepLatency.p50,
      step_p95_s: p.stepLatency.p95,
      step_p99_s: p.stepLatency.p99,
      step_max_s: p.stepLatency.max,
      steps: p.stepLatency.steps,
      effective_steps: p.stepLatency.effectiveSteps,
      speedup: p.speedup.mean,
      speedup_low: p.speedup.low,
      speedup_high: p.speedup.high,
      tokens_per_second_per_gpu: p.tokensPerSecondPerGpu,
      peak_memory_bytes: p.peakMemory.max,
      memory_verdict: p.peakMemory.verdict,
      gamma_gpu_before: p.imbalance.gpu.before.maxOverMean,
      gamma_gpu_after: p.imbalance.gpu.after.maxOverMean,
      gamma_gpu_floor: p.imbalance.gpu.floor,
      gamma_expert_before: p.imbalance.expert.before.maxOverMean,
      gamma_expert_after: p.imbalance.expert.after.maxOverMean,
      copies_routed: p.copies.routed,
      copies_dropped: p.copies.dropped,
      copies_moved: p.copies.moved,
      loss_share: lossOf(p),
      dispatch_bytes: p.bytes.dispatch,
      combine_bytes: p.bytes.combine,
      weight_bytes: p.bytes.weights,
      metadata_bytes: p.bytes.metadata,
      bound_s: p.bound?.stepLatency ?? null,
      bound_gap: p.bound?.gap ?? null,
      dropped_share: p.copies.dropped / p.copies.routed,
      quantised_share: (p.loss?.quantisedCopies ?? 0) / p.copies.routed,
      gate_mass_left: p.loss?.keptGateMass ?? null,
      interval: result.routing.interval,
      profile: result.profile.name,
      profile_status: result.profile.status,
      notes: result.routing.notes.join(' | '),
    })),
  );
  return stringify(rows, { header: true, cast: { boolean: String } });
}

/**
 * One row per (step, layer) and a column of seconds per policy.
 * @param latencies by policy, [step · layers + layer]
 */
export function stepsCsv(result: Result, latencies: readonly Float64Array[]): string {
  const { layers } = result.routing;
  const columns = ['step', 'layer', ...result.policies.map(({ policy }) => policyLabel(policy))];
  const rows = Array.from(latencies[0], (_, i) => [
    Math.floor(i / layers.length),
    layers[i % layers.length],
    ...latencies.map((series) => series[i]),
  ]);
  return stringify([columns, ...rows]);
}
