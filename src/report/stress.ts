import { policyLabel } from '../balancing/index.js';
import type {
  Objective,
  RobustCost,
  RobustPlan,
  ScoredPlacement,
  StressedPolicy,
  StressReport,
} from '../robustness/index.js';
import { plainTable } from './plain-table.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

/** Segments whose weights are listed; JSON has all. */
const LISTED = 5;

const format: Record<Objective, (cost: number) => string> = { time: formatSeconds, memory: formatBytes };

/** What policies cost in the worst mixture of segments: tables, the mixtures, and what a placement gains. */
export function stressText(report: StressReport): string {
  const { scenario, model, cluster, runtime, layers, tokensPerGpu, segments, plan, notes } = report;
  const { list, mix, by } = segments;
  const steps = list.reduce((sum, { scoringSteps }) => sum + scoringSteps, 0);
  return [
    scenario.name ?? 'unnamed scenario',
    `${model} on ${cluster.gpus} × ${cluster.gpu}, runtime ${runtime}; ${layers.length === 1 ? `MoE layer ${layers[0]}` : `${layers.length} MoE layers`}, ` +
      `${tokensPerGpu} tokens per GPU and step`,
    `${list.length} segments by ${by}, ${mix === 'equal' ? 'of equal weight' : 'weighted by their share of the recording'}; ` +
      `figures are of ${steps} held-out steps, the second half of every segment: what plans saw the first halves`,
    '',
    'Step time: the mean, the worst segment, and ρ(κ), the mean of the worst mixture within κ nats of the given one',
    costTable(report, 'time'),
    '',
    'Peak memory of the fullest GPU',
    costTable(report, 'memory'),
    '',
    ...mixtures(report),
    ...(plan === null ? [] : ['', ...planLines(report, plan)]),
    '',
    ...notes.map((note) => `* ${note}`),
  ].join('\n');
}

function costTable(report: StressReport, objective: Objective): string {
  return plainTable(
    ['', 'mean', 'worst segment', ...curveHeads(report)],
    report.policies.map((own) => [`  ${nameOf(own)}`, ...costCells(own[objective], format[objective])]),
  );
}

function curveHeads({ radii, segments: { list, mix } }: StressReport): string[] {
  return radii.map((radius, i) => {
    const isLast = i + 1 === radii.length;
    return `ρ(${isLast && mix === 'equal' ? `ln ${list.length}` : Number(radius.toFixed(3))})`;
  });
}

function costCells({ mean, worst, curve }: RobustCost, text: (cost: number) => string): string[] {
  return [text(mean), `${text(worst.cost)} ${worst.segment}`, ...curve.map(({ cost }) => text(cost))];
}

function nameOf({ policy, anchor, exact }: StressedPolicy): string {
  return `${policyLabel(policy)}${anchor ? ' (anchor)' : ''}${exact ? '' : ' (inexact)'}`;
}

/** Which segments make the worst mixture of every policy, at the middle radius. */
function mixtures({ policies, radii, segments: { list } }: StressReport): string[] {
  const at = Math.floor((radii.length - 1) / 2);
  const named = policies.filter(({ anchor }) => !anchor);
  return [
    `Worst mixture of step time within κ = ${Number(radii[at].toFixed(3))}: share of each segment (given share)`,
    ...named.map((own) => {
      const { weights } = own.time.curve[at];
      const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]);
      const shown = order
        .slice(0, LISTED)
        .map((i) => `${list[i].name} ${formatShare(weights[i])} (${formatShare(list[i].weight)})`);
      const left = order.length - shown.length;
      return `  ${nameOf(own)}: ${shown.join(', ')}${left > 0 ? `, and ${left} more` : ''}`;
    }),
  ];
}

function planLines(report: StressReport, plan: RobustPlan): string[] {
  const { objective, radius, rounds, kept, policy, mean, robust } = plan;
  const of = { time: 'step time', memory: 'peak memory' }[objective];
  const named: [string, ScoredPlacement][] = [['mean placement', mean]];
  if (kept > 0) named.push(['robust placement', robust]);
  const rows = (['time', 'memory'] as const).flatMap((own) =>
    named.map(([name, { heldOut }]) => [`  ${name}, ${own}`, ...costCells(heldOut[own], format[own])]),
  );
  return [
    `Placements of ${policyLabel(policy)}: for the given mixture (mean), and against the worst mixture of ${of} within κ = ` +
      `${radius} (robust; ${kept === 0 ? `none of ${rounds.length - 1} rounds was better than the mean placement, which is kept` : `round ${kept} of ${rounds.length - 1}`})`,
    plainTable(['', 'mean', 'worst segment', ...curveHeads(report)], rows),
    ...(kept === 0 ? [] : [sentence(plan)]),
  ];
}

function sentence({ objective, mean, robust }: RobustPlan): string {
  const [before, now] = [mean.heldOut[objective], robust.heldOut[objective]];
  const change = (from: number, to: number) =>
    `${formatShare(Math.abs(to / from - 1))} ${to <= from ? 'lower' : 'higher'}`;
  return (
    `On held-out steps the robust placement's worst segment costs ${change(before.worst.cost, now.worst.cost)} and its mean ` +
    `${change(before.mean, now.mean)} than the mean placement's.`
  );
}
