import { isYardstick, policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { formatBytes, formatFactor, formatShare } from './units.js';

/** A yardstick, or run for comparison only. */
export function isAnchor({ anchor, policy }: PolicyResult): boolean {
  return anchor || isYardstick(policy);
}

/** A policy's name, marked where nobody asked for it. */
export function nameCell(p: PolicyResult): string {
  return `${policyLabel(p.policy)}${isAnchor(p) ? ' (anchor)' : ''}`;
}

/** Whether there is an interval to see: `ep` against itself has none, nor have steps that do not vary. */
export function hasRange({ speedup: { low, high } }: PolicyResult): boolean {
  return low !== null && high !== null && low !== high;
}

/** "1.24× [1.21, 1.27]". */
export function speedupCell(p: PolicyResult): string {
  const { mean, low, high } = p.speedup;
  return `${formatFactor(mean)}${hasRange(p) ? ` [${low!.toFixed(2)}, ${high!.toFixed(2)}]` : ''}`;
}

/** "674.6 MiB fits (1 layer)": one MoE layer is simulated, and its memory is all that is counted. */
export function memoryCell({ peakMemory: { max, verdict } }: PolicyResult): string {
  return `${formatBytes(max)} ${verdict} (1 layer)`;
}

/** "1.99 → 1.00": γ of the GPUs before and after. */
export function gammaCell({ imbalance: { gpu } }: PolicyResult): string {
  return `${gpu.before.maxOverMean.toFixed(2)} → ${gpu.after.maxOverMean.toFixed(2)}`;
}

/** What an inexact policy loses: "27.2 % dropped, 79.6 % gate mass left"; 0.0 % where it loses nothing. */
export function lossCell({ copies, loss }: PolicyResult): string {
  const parts: string[] = [];
  if (copies.dropped > 0) parts.push(`${formatShare(copies.dropped / copies.routed)} dropped`);
  const quantised = loss!.quantisedCopies / copies.routed;
  if (quantised > 0) parts.push(`${formatShare(quantised)} quantised`);
  if (loss!.keptGateMass !== null) parts.push(`${formatShare(loss!.keptGateMass)} gate mass left`);
  return parts.join(', ') || formatShare(0);
}

/** What was run, in two lines: model and machine, layers and steps. */
export function settingLines({ model, cluster, runtime, profile, routing }: Result): string[] {
  const nodes = cluster.gpus > cluster.gpusPerNode ? ` in nodes of ${cluster.gpusPerNode}` : '';
  const layers =
    routing.layers.length === 1 ? `MoE layer ${routing.layers[0]}` : `${routing.layers.length} MoE layers`;
  return [
    `${model} on ${cluster.gpus} × ${cluster.gpu}${nodes}, runtime ${runtime}, fabric ${cluster.fabric}, ` +
      `profile ${profile.name} (${profile.status})`,
    `${layers}, ${routing.steps} ${routing.steps === 1 ? 'step' : 'steps'} of ${routing.tokensPerGpu} tokens per GPU` +
      (routing.calibration === null ? '' : `; calibration: ${routing.calibration}`),
  ];
}

/** Where intervals come from, or why there are none. */
export function intervalLine({ routing, policies }: Result): string {
  const [, none] = /^none: (.*)$/.exec(routing.interval) ?? [];
  if (none !== undefined) return `no interval: ${none}`;
  const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
  const count = Math.round(ep.stepLatency.effectiveSteps);
  if (!policies.some(hasRange)) return `no interval: ${count} effective steps are too few`;
  const effective = routing.varies ? `; ${count} effective steps` : '';
  return `90 % interval: ${routing.interval.replace(/^90 %, /, '')}${effective}`;
}

/** Whether the experts of all MoE layers would fit a GPU beside each other; nothing for a model of one layer. */
export function allLayersLines({ moeLayers, policies }: Result): string[] {
  if (moeLayers === 1) return [];
  const resident = policies
    .filter((p) => !isAnchor(p) || p.policy.kind === 'ep')
    .map(({ peakMemory: { byCategory } }) => byCategory.weights + byCategory.replicas);
  const bytes = moeLayers * Math.max(...resident);
  const { capacity, nonTensor } = policies[0].peakMemory;
  const fits = bytes + nonTensor <= capacity ? 'would fit' : 'would not fit';
  return [
    `All ${moeLayers} MoE layers: their resident experts, up to ${formatBytes(bytes)} per GPU, ${fits} its ` +
      `${formatBytes(capacity)}, attention, KV cache and the rest of the model not counted.`,
  ];
}
