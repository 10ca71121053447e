import { policyLabel } from '../balancing/index.js';
import type { RouterLoads } from '../inspection/index.js';
import type { LabOptions, ObjectiveOptions, RecordedRouter } from '../routers/index.js';
import type { Result } from '../simulation/index.js';
import { isAnchor } from './cells.js';
import { plainTable } from './plain-table.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

/** What one objective made of the lab's router. */
export interface LabEntry {
  /** Short name with the options that are not the defaults; names its trace. */
  label: string;
  objective: ObjectiveOptions;
  trained: RecordedRouter['trained'];
  loads: RouterLoads;
  /** The scenario under this router's routing. */
  result: Result;
}

/** What `epsim routers train` prints and keeps. */
export interface LabReport {
  schema: 'epsim/router-lab@1';
  version: string;
  lab: LabOptions;
  seed: number | string;
  /** Experts' nodes that tokens may come from. */
  nodes: number;
  entries: LabEntry[];
  /** Objectives that were left out, and why. */
  leftOut: string[];
  /** What papers claim and a toy can't show. */
  notSimulated: string[];
}

/** What a router lab found, as a person reads it. */
export function routerLabText(report: LabReport): string {
  const { entries, lab, nodes, leftOut, notSimulated } = report;
  const [{ result, loads }] = entries;
  const { model, cluster, routing } = result;
  const title =
    `Router lab: one MoE layer, ${lab.steps} batches of ${lab.batchSequences * lab.sequenceTokens} tokens each for training; ` +
    `then ${routing.steps} steps of ${loads.batchTokens} unseen tokens`;
  return [
    title,
    '',
    loadTable(entries),
    `γ: max/mean load. min/max: least over largest load of an expert. MaxVio: (largest − mean)/mean per expert, of all steps / mean of steps. dead: experts that no token chose. used: share of the experts that a sequence of ${lab.sequenceTokens} tokens uses. local: share of copies to the token's own node (1 of ${nodes}). task loss: of the toy, lower is better. RᵀR: mean square of RᵀR − I.`,
    '',
    `${model} shapes on ${cluster.gpus} × ${cluster.gpu} in nodes of ${cluster.gpusPerNode}, ${routing.tokensPerGpu} tokens per GPU: mean step, and peak memory in use on the fullest GPU`,
    '',
    stepTable(entries),
    '* routing of toy routers: it shows what an objective does to balance, and not what a model would show',
    ...leftOut.map((reason) => `* left out: ${reason}`),
    ...notSimulated.map((claim) => `paper, not simulated: ${claim}`),
  ].join('\n');
}

function loadTable(entries: readonly LabEntry[]): string {
  const head = [
    'objective',
    'γ expert',
    'γ GPU',
    'Gini',
    'min/max',
    'MaxVio',
    'dead',
    'used',
    'local',
    'task loss',
    'RᵀR',
  ];
  const rows = entries.map(({ label, loads, trained }) => [
    label,
    loads.gammaExpert.toFixed(2),
    loads.gammaGpu.toFixed(2),
    loads.gini.toFixed(3),
    loads.minOverMax.toFixed(3),
    `${loads.maxVioGlobal.toFixed(2)} / ${loads.maxVioBatch.toFixed(2)}`,
    String(loads.dead),
    formatShare(loads.expertsPerSequence),
    formatShare(loads.localShare),
    trained.taskLoss.toFixed(3),
    trained.similarity === null ? '–' : trained.similarity.toExponential(0),
  ]);
  return plainTable(head, rows);
}

/** A column for every policy; anchors that nobody asked for are left out. */
function stepTable(entries: readonly LabEntry[]): string {
  const shown = entries[0].result.policies
    .map((policy, i) => ({ policy, i }))
    .filter(({ policy }) => !isAnchor(policy));
  const head = ['', ...shown.map(({ policy }) => policyLabel(policy.policy))];
  const rows = entries.map(({ label, result }) => [
    label,
    ...shown.map(({ i }) => {
      const { stepLatency, peakMemory, copies, exact } = result.policies[i];
      const lost =
        exact || copies.dropped === 0 ? '' : `, ${formatShare(copies.dropped / copies.routed)} dropped`;
      return `${formatSeconds(stepLatency.mean)}, ${formatBytes(peakMemory.max)}${lost}`;
    }),
  ]);
  return plainTable(head, rows);
}
