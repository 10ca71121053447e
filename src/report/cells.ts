import { isYardstick, policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { formatBytes, formatFactor, formatSecondsRange, formatShare } from './units.js';

/** A yardstick, or run for comparison only. */
export function isAnchor({ anchor, policy }: PolicyResult): boolean {
  return anchor || isYardstick(policy);
}

/** A policy's name, marked where nobody asked for it. */
export function nameCell(p: PolicyResult): string {
  return `${policyLabel(p.policy)}${isAnchor(p) ? ' (anchor)' : ''}`;
}

/** Whether there is an interval to see: `ep` against itself has none, nor has a policy that does what `ep` does. */
export function hasRange({ speedup: { low, high } }: PolicyResult): boolean {
  return low !== high;
}

/** "12.3 [11.3, 14.1] ms": mean step latency and its interval. */
export function latencyCell({ stepLatency: { mean, low, high } }: PolicyResult): string {
  return formatSecondsRange(mean, low, high);
}

/** "1.24× [1.21, 1.27]". */
export function speedupCell(p: PolicyResult): string {
  const { mean, low, high } = p.speedup;
  return `${formatFactor(mean)}${hasRange(p) ? ` [${low.toFixed(2)}, ${high.toFixed(2)}]` : ''}`;
}

/** What the latency of a step is the time of. */
export function steppedThing({ scenario, policies }: Result): string {
  if (policies.some(({ training }) => training !== null)) return 'a training step';
  return scenario.scope === 'model' ? 'a step of the whole model' : 'one MoE layer in a step';
}

/**
 * "674.6 MiB fits (1 layer)": in scope `layer` the memory of one MoE layer, in training of those of a pipeline stage,
 * is all that is counted.
 */
export function memoryCell({ peakMemory: { max, verdict }, memory, training }: PolicyResult): string {
  const layers = training?.layersPerStage ?? 1;
  const counted = memory === undefined ? ` (${layers} ${layers === 1 ? 'layer' : 'layers'})` : '';
  return `${formatBytes(max)} ${verdict}${counted}`;
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
  const { rewritten } = loss!;
  if (rewritten) parts.push(`${formatShare(rewritten.copies / copies.routed)} to other experts`);
  if (loss!.keptGateMass !== null) parts.push(`${formatShare(loss!.keptGateMass)} gate mass left`);
  if (rewritten) {
    const { routed, rewritten: after } = rewritten.gpusPerToken;
    parts.push(`${routed.toFixed(2)} → ${after.toFixed(2)} GPUs per token`);
  }
  return parts.join(', ') || formatShare(0);
}

/** What was run, in two lines: model and machine, layers and steps. */
export function settingLines({
  model,
  moeLayers,
  cluster,
  runtime,
  profile,
  routing,
  scenario,
  policies: [{ training }],
}: Result): string[] {
  const nodes = cluster.gpus > cluster.gpusPerNode ? ` in nodes of ${cluster.gpusPerNode}` : '';
  const routed =
    routing.layers.length === 1 ? `MoE layer ${routing.layers[0]}` : `${routing.layers.length} MoE layers`;
  const layers = scenario.scope === 'model' ? `the whole model with ${moeLayers} MoE layers` : routed;
  return [
    `${model} on ${cluster.gpus} × ${cluster.gpu}${nodes}, runtime ${runtime}, fabric ${cluster.fabric}, ` +
      `profile ${profile.name} (${profile.status})`,
    `${layers}, ${routing.steps} ${routing.steps === 1 ? 'step' : 'steps'} of ${batchesOf(training)}` +
      `${routing.tokensPerGpu} tokens per GPU` +
      (routing.calibration === null ? '' : `; calibration: ${routing.calibration}`),
  ];
}

/** "4 micro-batches of ", where a training step has several. */
function batchesOf(training: PolicyResult['training']): string {
  if (training === null || training.microBatches === 1) return '';
  return `${training.microBatches} micro-batches of `;
}

/** What the intervals hold, and the parts of the one of `ep`. */
export function intervalLines({ routing, policies }: Result): string[] {
  const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
  const effective = routing.varies ? `; ${Math.round(ep.stepLatency.effectiveSteps)} effective steps` : '';
  const parts = ep.uncertainty.map(
    ({ source, basis, range: [low, high] }) => `${source} ${low.toFixed(2)} to ${high.toFixed(2)} (${basis})`,
  );
  return [
    `Intervals hold ${routing.interval}${effective}.`,
    ...(parts.length > 0 ? [`Factors on the step of ep, each alone: ${parts.join(', ')}.`] : []),
  ];
}

/** Whether the experts of all MoE layers would fit a GPU beside each other; nothing for a model of one layer. */
export function allLayersLines({ moeLayers, policies, scenario }: Result): string[] {
  if (moeLayers === 1 || scenario.scope === 'model' || policies[0].training !== null) return [];
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
