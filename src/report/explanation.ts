import { isYardstick, policyLabel } from '../balancing/index.js';
import type { Explanation, PolicyExplanation, Rebalance } from '../simulation/index.js';
import { plainTable } from './plain-table.js';
import { formatFactor, formatSeconds, formatShare } from './units.js';

/** Placements that are listed; JSON has all. */
const LISTED_PLACEMENTS = 12;
/** Layers and instances that are listed. */
const LISTED = 5;

/** Where the time of every policy goes: plain sentences first, then tables. */
export function explanationText(explanation: Explanation): string {
  const { scenario, model, cluster, runtime, steps, layers, policies, notes } = explanation;
  const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
  const real = policies.filter((own) => own.policy.kind !== 'balanced');
  return [
    scenario.name ?? 'unnamed scenario',
    `${model} on ${cluster.gpus} × ${cluster.gpu}, runtime ${runtime}; ${layers.length === 1 ? `MoE layer ${layers[0]}` : `${layers.length} MoE layers`}, ` +
      `${steps} ${steps === 1 ? 'step' : 'steps'}; times are means per ${unitOf(explanation)}, without intervals (epsim run has them)`,
    '',
    ...real.flatMap((own) => [...sentences(own, ep, explanation.scope), '']),
    `Critical path: the chain of tasks that a ${explanation.scope === 'model' ? 'step' : 'layer'} waits for, by phase; its seconds sum to it.`,
    phaseTable(policies),
    ...real.flatMap((own) => ['', ...tablesOf(own)]),
    '',
    ...notes.map((note) => `* ${note}`),
  ].join('\n');
}

function unitOf({ scope }: Explanation): string {
  return scope === 'model' ? 'step of the whole model' : 'layer of a step';
}

function sentences(own: PolicyExplanation, ep: PolicyExplanation, scope: Explanation['scope']): string[] {
  return [
    whereTimeGoes(own, scope === 'model' ? 'step' : 'layer'),
    ...whoIsSlow(own),
    ...waiting(own),
    ...(own === ep ? [] : [againstEp(own, ep)]),
    ...prediction(own),
  ];
}

function whereTimeGoes({ policy, seconds, phases }: PolicyExplanation, unit: 'step' | 'layer'): string {
  const parts = phases
    .filter((phase) => phase.seconds > 0.005 * seconds)
    .map(
      (phase) => `${phase.phase} ${formatSeconds(phase.seconds)} (${formatShare(phase.seconds / seconds)})`,
    );
  return `${policyLabel(policy)}: a ${unit} takes ${formatSeconds(seconds)}: ${parts.join(', ')}.`;
}

/** The GPU, the layer and the expert that have most to do with it. */
function whoIsSlow({ gpus, layers, experts }: PolicyExplanation): string[] {
  const slowest = gpus.reduce((a, b) => (b.slowest > a.slowest ? b : a));
  if (slowest.slowest === 0) return [];
  if (gpus.every(({ load }) => Math.abs(load - 1) < 0.005)) {
    return ['  All GPUs compute equally many copies: none is late by its experts.'];
  }
  const lines = [
    `  Its layers wait most often for GPU ${slowest.gpu}: its experts are the last in ${formatShare(slowest.slowest)} of them, ` +
      `where an even spread would make it ${formatShare(1 / gpus.length)}; it computes ${formatFactor(slowest.load)} the mean of copies.`,
  ];
  if (layers.length > 1) {
    const worst = layers.reduce((a, b) => (b.seconds > a.seconds ? b : a));
    const best = layers.reduce((a, b) => (b.seconds < a.seconds ? b : a));
    lines.push(
      `  Layer ${worst.layer} takes longest, ${formatSeconds(worst.seconds)} at γ ${worst.gamma.toFixed(2)}; layer ${best.layer} least, ` +
        `${formatSeconds(best.seconds)} at γ ${best.gamma.toFixed(2)}.`,
    );
  }
  const [hot] = experts;
  if (hot !== undefined && hot.timesMean > 1) {
    lines.push(
      `  The expert with most to do with it is ${hot.expert} of layer ${hot.layer}, on GPU ${hot.gpu}: ${formatFactor(hot.timesMean)} the mean ` +
        `of an expert and ${formatShare(hot.shareOfGpu)} of the GPU’s copies in the ${formatShare(hot.share)} of steps in which that GPU is the last.`,
    );
  }
  return lines;
}

function waiting({ waiting: waits, waitingFor, transfer, seconds, gpus }: PolicyExplanation): string[] {
  const patient = gpus.reduce((a, b) => (b.waiting > a.waiting ? b : a));
  return [
    `  A GPU is ready and waits for the others for ${formatSeconds(waits)} of it (${formatShare(waits / seconds)}), ` +
      `GPU ${patient.gpu} longest (${formatSeconds(patient.waiting)}); exchanges and weights on their way take ${formatSeconds(transfer)} (${formatShare(transfer / seconds)}).`,
    ...(waitingFor === null || waits === 0 ? [] : [waitedFor(waitingFor)]),
  ];
}

function waitedFor({ source, experts, lastAtSource }: NonNullable<PolicyExplanation['waitingFor']>): string {
  const who =
    lastAtSource === null
      ? ''
      : ` (GPU ${lastAtSource.gpu} is the last most often, in ${formatShare(lastAtSource.share)} of layers)`;
  return `  Of that, ${formatSeconds(source)} for attention and other work on their own tokens${who}, ${formatSeconds(experts)} for their experts.`;
}

function againstEp({ seconds, phases }: PolicyExplanation, ep: PolicyExplanation): string {
  const beyond = seconds - ep.seconds;
  const parts = phases
    .filter(({ beyondEp }) => Math.abs(beyondEp!) > 0.002 * ep.seconds)
    .sort((a, b) => a.beyondEp! - b.beyondEp!)
    .map(({ phase, beyondEp }) => `${phase} ${signed(beyondEp!)}`);
  if (parts.length === 0) return '  Against ep: the same.';
  return `  Against ep: ${signed(beyond)}: ${parts.join(', ')}.`;
}

function signed(seconds: number): string {
  return `${seconds < 0 ? '−' : '+'}${formatSeconds(Math.abs(seconds))}`;
}

function prediction({ prediction: found, policy }: PolicyExplanation): string[] {
  if (found === null || isYardstick(policy)) return [];
  const { expected, realised, oracle, rebalances } = found;
  const made = rebalances.length === 1 ? 'Its placement' : `Its ${rebalances.length} placements`;
  return [
    `  ${made} expected γ ${expected!.toFixed(2)} of the loads known then; steps showed ${realised.toFixed(2)}. With the loads of each step ` +
      `known in advance the same rule would reach ${oracle.toFixed(2)}: ${(realised - oracle).toFixed(2)} is prediction error, ` +
      `${(oracle - 1).toFixed(2)} the limit of such placements.`,
  ];
}

function phaseTable(policies: readonly PolicyExplanation[]): string {
  const phases = [...new Set(policies.flatMap((own) => own.phases.map(({ phase }) => phase)))];
  const cell = (own: PolicyExplanation, phase: string) => {
    const found = own.phases.find((other) => other.phase === phase);
    return found === undefined || found.seconds === 0 ? '–' : formatSeconds(found.seconds);
  };
  return plainTable(
    ['', ...policies.map(({ policy, anchor }) => `${policyLabel(policy)}${anchor ? ' (anchor)' : ''}`)],
    [
      ...phases.map((phase) => [`  ${phase}`, ...policies.map((own) => cell(own, phase))]),
      ['  together', ...policies.map(({ seconds }) => formatSeconds(seconds))],
      ['  waiting, mean over GPUs', ...policies.map((own) => formatSeconds(own.waiting))],
      ...(policies[0].waitingFor === null
        ? []
        : [
            ['    for attention', ...policies.map(({ waitingFor }) => formatSeconds(waitingFor!.source))],
            ['    for experts', ...policies.map(({ waitingFor }) => formatSeconds(waitingFor!.experts))],
          ]),
    ],
  );
}

function tablesOf(own: PolicyExplanation): string[] {
  const { policy, gpus, layers, experts, prediction: found } = own;
  const rebalances = found?.rebalances ?? [];
  return [
    `${policyLabel(policy)}, by GPU: seconds on the critical path of its own work (divided where several do the same), and of exchanges in which its port is the busiest`,
    plainTable(
      ['', 'load', 'last in', 'work', 'exchanges', 'waiting'],
      gpus.map(({ gpu, load, slowest, work, exchanges, waiting: waits }) => [
        `  GPU ${gpu}`,
        formatFactor(load),
        formatShare(slowest),
        formatSeconds(work),
        formatSeconds(exchanges),
        formatSeconds(waits),
      ]),
    ),
    ...(layers.length > 1 ? [layerTable(own)] : []),
    ...(experts.length > 0 ? [expertTable(own)] : []),
    ...(rebalances.length > 0 && !isYardstick(policy) ? [placementTable(rebalances)] : []),
  ];
}

function layerTable({ layers }: PolicyExplanation): string {
  const worst = [...layers].sort((a, b) => b.seconds - a.seconds).slice(0, LISTED);
  return plainTable(
    ['  slowest layers', 'seconds', 'γ GPU', 'last GPU', 'in'],
    worst.map(({ layer, seconds, gamma, slowest }) => [
      `  layer ${layer}`,
      formatSeconds(seconds),
      gamma.toFixed(2),
      slowest === null ? '–' : String(slowest.gpu),
      slowest === null ? '–' : formatShare(slowest.share),
    ]),
  );
}

function expertTable({ experts }: PolicyExplanation): string {
  return plainTable(
    ['  hot experts', 'layer', 'GPU', 'times the mean', 'of the GPU', 'in'],
    experts
      .slice(0, LISTED)
      .map(({ expert, layer, gpu, timesMean, shareOfGpu, share }) => [
        `  expert ${expert}`,
        String(layer),
        String(gpu),
        formatFactor(timesMean),
        formatShare(shareOfGpu),
        formatShare(share),
      ]),
  );
}

function placementTable(rebalances: readonly Rebalance[]): string {
  const left = rebalances.length - LISTED_PLACEMENTS;
  const table = plainTable(
    ['  placements', 'layer', 'from step', 'steps', 'γ expected', 'realised', 'oracle'],
    rebalances
      .slice(0, LISTED_PLACEMENTS)
      .map(({ layer, step, steps, expected, realised, oracle }, i) => [
        `  ${i + 1}`,
        String(layer),
        String(step),
        String(steps),
        expected === null ? '–' : expected.toFixed(2),
        realised.toFixed(2),
        oracle.toFixed(2),
      ]),
  );
  return left > 0 ? `${table}\n  and ${left} more (--format json has all)` : table;
}
