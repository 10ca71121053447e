import Table from 'cli-table3';
import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { formatBytes, formatFactor, formatSeconds, formatShare } from './units.js';
import { lossOf, verdict } from './verdict.js';

/** Below this many effective steps a p99 says little, and the maximum is shown. */
const ENOUGH_FOR_P99 = 300;

/** A result as a person reads it: what was run, exact and inexact policies apart, notes, and what to do. */
export function resultTable(result: Result): string {
  const exact = result.policies.filter((p) => p.exact);
  const inexact = result.policies.filter((p) => !p.exact);
  return [
    heading(result),
    '',
    table('Exact policies', exact, result),
    ...(inexact.length > 0 ? ['', table('Inexact policies (they change the output)', inexact, result)] : []),
    '',
    legend(result),
    ...result.routing.notes.map((note) => `* ${note}`),
    '',
    verdict(result),
  ].join('\n');
}

function heading({ scenario, model, cluster, runtime, profile, routing }: Result): string {
  const nodes = cluster.gpus > cluster.gpusPerNode ? ` in nodes of ${cluster.gpusPerNode}` : '';
  const layers =
    routing.layers.length === 1 ? `MoE layer ${routing.layers[0]}` : `${routing.layers.length} MoE layers`;
  return [
    scenario.name ?? 'unnamed scenario',
    `${model} on ${cluster.gpus} × ${cluster.gpu}${nodes}, runtime ${runtime}, fabric ${cluster.fabric}, ` +
      `profile ${profile.name} (${profile.status})`,
    `${layers}, ${routing.steps} ${routing.steps === 1 ? 'step' : 'steps'} of ${routing.tokensPerGpu} tokens per GPU` +
      (routing.calibration === null ? '' : `; calibration: ${routing.calibration}`),
  ].join('\n');
}

function table(title: string, policies: readonly PolicyResult[], result: Result): string {
  const lossy = policies.some((p) => !p.exact);
  const tail = showsP99(result) ? 'p99' : 'max';
  const head = [
    '',
    'step',
    tail,
    'vs ep [90 %]',
    'peak memory',
    'γ GPU',
    ...(lossy ? ['loss'] : []),
    'weights moved',
    'vs bound',
  ];
  const grid = new Table({
    head,
    colAligns: ['left', ...head.slice(1).map(() => 'right' as const)],
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      right: '',
      'right-mid': '',
      mid: '',
      'mid-mid': '',
      middle: '  ',
    },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const p of policies) grid.push(row(p, lossy, tail));
  return `${title}\n${grid.toString().replace(/ +$/gm, '')}`;
}

function showsP99({ policies }: Result): boolean {
  return policies[0].stepLatency.effectiveSteps >= ENOUGH_FOR_P99;
}

function row(p: PolicyResult, lossy: boolean, tail: 'p99' | 'max'): string[] {
  const { gpu } = p.imbalance;
  const layers = p.stepLatency.steps;
  return [
    `  ${policyLabel(p.policy)}${p.anchor || p.policy.kind === 'balanced' ? ' (anchor)' : ''}`,
    formatSeconds(p.stepLatency.mean),
    formatSeconds(p.stepLatency[tail]),
    speedup(p),
    `${formatBytes(p.peakMemory.max)} ${p.peakMemory.verdict}`,
    `${gpu.before.maxOverMean.toFixed(2)} → ${gpu.after.maxOverMean.toFixed(2)}`,
    ...(lossy ? [loss(p)] : []),
    p.bytes.weights === 0 ? '–' : `${formatBytes(p.bytes.weights / layers)}/step`,
    p.bound?.gap == null ? '–' : formatFactor(1 + p.bound.gap),
  ];
}

function speedup({ speedup: { mean, low, high } }: PolicyResult): string {
  const range = low === null || high === null ? '' : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  return `${formatFactor(mean)}${range}`;
}

function loss(p: PolicyResult): string {
  const parts: string[] = [];
  if (p.copies.dropped > 0) parts.push(`${formatShare(p.copies.dropped / p.copies.routed)} dropped`);
  const quantised = p.loss!.quantisedCopies / p.copies.routed;
  if (quantised > 0) parts.push(`${formatShare(quantised)} quantised`);
  if (p.loss!.keptGateMass !== null) parts.push(`${formatShare(p.loss!.keptGateMass)} gate mass left`);
  return parts.join(', ') || formatShare(lossOf(p));
}

function legend(result: Result): string {
  const { gpu, expert } = result.policies[0].imbalance;
  const score = result.policies
    .filter(({ policy }) => policy.kind === 'replicate-quantize')
    .map(
      ({ policy, imbalance }) =>
        `Load-imbalance score (max/mean per instance of an expert) of ${policyLabel(policy)}: ` +
        `${imbalance.expert.before.maxOverMean.toFixed(2)} → ${imbalance.expert.after.maxOverMean.toFixed(2)}.`,
    );
  return [
    `step: mean latency; 90 % interval: ${result.routing.interval.replace(/^90 %, /, '')}; ` +
      `${Math.round(result.policies[0].stepLatency.effectiveSteps)} effective steps.`,
    'peak memory: in use on the fullest GPU, with this one MoE layer resident.',
    `γ GPU: max/mean copies per GPU, every copy at home → as planned; a uniform router would show ` +
      `${gpu.floor.toFixed(2)} (per expert ${expert.floor.toFixed(2)}, here ${expert.before.maxOverMean.toFixed(2)}).`,
    'vs bound: step over the lower bound of the work that the policy does.',
    ...score,
  ].join('\n');
}

/** Several results side by side: a row per policy, a column per scenario. */
export function comparisonTable(results: readonly Result[]): string {
  const labels = [
    ...new Set(results.flatMap(({ policies }) => policies.map(({ policy }) => policyLabel(policy)))),
  ];
  const head = ['policy', ...results.map(({ scenario }, i) => scenario.name ?? `scenario ${i + 1}`)];
  const grid = new Table({ head, style: { head: [], border: [] }, wordWrap: true });
  for (const label of labels) {
    grid.push([
      label,
      ...results.map(({ policies }) => {
        const p = policies.find(({ policy }) => policyLabel(policy) === label);
        if (!p) return '–';
        const lost = lossOf(p);
        return (
          `${formatSeconds(p.stepLatency.mean)}  ${formatFactor(p.speedup.mean)}\n` +
          `${formatBytes(p.peakMemory.max)} ${p.peakMemory.verdict}` +
          (lost > 0 ? `\n${formatShare(lost)} lost` : '')
        );
      }),
    ]);
  }
  return grid.toString();
}
