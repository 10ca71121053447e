import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { faultTables } from './faults.js';
import {
  allLayersLines,
  gammaCell,
  intervalLines,
  latencyCell,
  lossCell,
  memoryCell,
  nameCell,
  settingLines,
  speedupCell,
  steppedThing,
} from './cells.js';
import { offloadLines, offloadTables } from './offload.js';
import { namedText, type NamedTable } from './plain-table.js';
import { predictionLines } from './prediction-lines.js';
import { trainingTables } from './training.js';
import { formatBytes, formatFactor, formatSeconds, formatShare } from './units.js';
import { verdict } from './verdict.js';
import { servingTables, wholeModelLines } from './whole-model.js';

/** Below this many effective steps a p99 says little, and the maximum is shown. */
const ENOUGH_FOR_P99 = 300;

/** What a terminal asks of a table. */
export interface TableStyle {
  /** Of the window; default: as wide as it takes. */
  columns?: number;
  /** What stands before the last line. */
  bars?: string | null;
}

/** A result as a person reads it: what was run, exact and inexact policies apart, notes, and what to do. */
export function resultTable(result: Result, { columns, bars = null }: TableStyle = {}): string {
  return [
    result.scenario.name ?? 'unnamed scenario',
    ...settingLines(result),
    '',
    ...comparisonTables(result).flatMap((own) => [namedText(own, columns), '']),
    ...servingTables(result).flatMap((own) => [namedText(own, columns), '']),
    ...trainingTables(result).flatMap((own) => ['', namedText(own, columns)]),
    ...legendLines(result),
    ...result.routing.notes.map((note) => `* ${note}`),
    ...faultTables(result).flatMap((own) => ['', namedText(own, columns)]),
    '',
    ...(bars === null ? [] : [bars, '']),
    verdict(result),
  ].join('\n');
}

/** Exact and inexact policies apart; only what there is. */
export function comparisonTables(result: Result): NamedTable[] {
  const groups = [
    ['Exact policies', true],
    ['Inexact policies (they change the output)', false],
  ] as const;
  const compared = groups.flatMap(([title, exact]) => {
    const policies = result.policies.filter((p) => p.exact === exact);
    return policies.length === 0 ? [] : [table(title, policies, result)];
  });
  return [...offloadTables(result), ...compared];
}

function table(title: string, policies: readonly PolicyResult[], result: Result): NamedTable {
  const lossy = policies.some((p) => !p.exact);
  const tail = showsP99(result) ? 'p99' : 'max';
  const head = [
    '',
    'step [90 %]',
    tail,
    'vs ep [90 %]',
    'peak memory',
    'γ GPU',
    ...(lossy ? ['loss'] : []),
    'weights moved',
    'vs bound',
  ];
  return { title, head, rows: policies.map((p) => row(p, lossy, tail)) };
}

/** Decided by `ep`, which every run has, whatever the order of its policies. */
function showsP99({ policies }: Result): boolean {
  const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
  return ep.stepLatency.effectiveSteps >= ENOUGH_FOR_P99;
}

function row(p: PolicyResult, lossy: boolean, tail: 'p99' | 'max'): string[] {
  const layers = p.stepLatency.steps;
  return [
    nameCell(p),
    latencyCell(p),
    formatSeconds(p.stepLatency[tail]),
    speedupCell(p),
    memoryCell(p),
    gammaCell(p),
    ...(lossy ? [lossCell(p)] : []),
    p.bytes.weights === 0 ? '–' : `${formatBytes(p.bytes.weights / layers)}/step`,
    p.bound?.gap == null ? '–' : formatFactor(1 + p.bound.gap),
  ];
}

/** What is in memory. */
function residentLine({ policies: [{ training }], scenario }: Result): string {
  const fullest = 'peak memory: in use on the fullest GPU';
  if (scenario.scope === 'model') return `${fullest}, with all weights and the KV cache.`;
  if (training === null) return `${fullest}, with this one MoE layer resident.`;
  const { layersPerStage, stages } = training;
  return (
    `${fullest}${stages === 1 ? '' : ` of the ${stages} stages`}, with ${layersPerStage} MoE ` +
    `${layersPerStage === 1 ? 'layer' : 'layers'} in memory and what their micro-batches save; the rest of the model is not counted.`
  );
}

/** How many copies stay on their token's node; nothing where all GPUs are on one. */
function localityLines({ policies, cluster }: Result): string[] {
  if (cluster.gpus <= cluster.gpusPerNode) return [];
  const shares = policies
    .filter(({ policy }) => policy.kind !== 'balanced')
    .map(({ policy, locality }) => `${policyLabel(policy)} ${formatShare(locality.ownNode)}`);
  return [`Copies computed on their own token's node: ${shares.join(', ')}.`];
}

/** What the columns mean, and how sure they are. */
export function legendLines(result: Result): string[] {
  const { gpu, expert } = result.policies[0].imbalance;
  const score = result.policies
    .filter(({ policy }) => policy.kind === 'replicate-quantize')
    .map(
      ({ policy, imbalance }) =>
        `Load-imbalance score (max/mean per instance of an expert) of ${policyLabel(policy)}: ` +
        `${imbalance.expert.before.maxOverMean.toFixed(2)} → ${imbalance.expert.after.maxOverMean.toFixed(2)}.`,
    );
  return [
    `step: mean latency of ${steppedThing(result)}. vs ep: mean latency of ep over it, with the interval of the pair.`,
    ...intervalLines(result),
    residentLine(result),
    ...wholeModelLines(result),
    ...allLayersLines(result),
    `γ GPU: max/mean copies per GPU, every copy at home → as planned; a uniform router would show ` +
      `${gpu.floor.toFixed(2)} (per expert ${expert.floor.toFixed(2)}, here ${expert.before.maxOverMean.toFixed(2)}).`,
    ...localityLines(result),
    'vs bound: step over the lower bound of the work that the policy does; looser where weights may move, so that it ' +
      'does not compare rows.',
    ...predictionLines(result),
    ...score,
    ...offloadLines(result),
  ];
}
