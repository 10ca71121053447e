import { policyLabel } from '../balancing/index.js';
import type { FaultedPolicy, FaultReport, Result } from '../simulation/index.js';
import { plainTable } from './plain-table.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

type Fault = FaultReport['faults'][number];

/** What every fault leaves of every policy, and how long the recovery takes; nothing without faults. */
export function faultLines({ faults = [], scenario }: Result, columns?: number): string[] {
  const isWhole = scenario.scope === 'model';
  return faults.flatMap((own) => ['', titleOf(own), tableOf(own, isWhole, columns)]);
}

function titleOf({ faults, step, gpus: [before, after], policies }: FaultReport): string {
  const counted = policies[0].after.steps;
  const left = before === after ? '' : `, ${after} of ${before} GPUs left`;
  return (
    `Step ${step}: ${faults.map(describe).join('; ')}${left}. The same ${counted === 1 ? 'step' : `${counted} steps`} ` +
    'without → with it; means without intervals'
  );
}

function describe(fault: Fault): string {
  if (fault.kind === 'gpu-lost') return `GPU ${fault.gpu} lost`;
  if (fault.kind === 'node-lost') return `node ${fault.node} lost`;
  const { gpu, node, port, factor } = fault;
  const ports = { all: 'ports', nvlink: 'NVLink ports', nic: 'NICs' }[port];
  const whose = gpu === undefined ? `node ${node}` : `GPU ${gpu}`;
  return `${ports} of ${whose} at ${formatShare(factor)} of their bandwidth`;
}

function tableOf({ policies }: FaultReport, isWhole: boolean, columns?: number): string {
  const recovers = policies.some(({ recovery }) => recovery !== null);
  return plainTable(
    [
      '',
      'step',
      'throughput left',
      'γ GPU',
      'peak memory after',
      isWhole ? 'tokens/s after' : 'experts of all layers',
      ...(recovers ? ['recovery', 'steps missed', 'from GPUs', 'from storage'] : []),
    ],
    policies.map((own) => [
      `  ${policyLabel(own.policy)}${own.anchor ? ' (anchor)' : ''}`,
      ...conditionCells(own, isWhole),
      ...(recovers ? recoveryCells(own) : []),
    ]),
    columns,
  );
}

function conditionCells({ without, after }: FaultedPolicy, isWhole: boolean): string[] {
  const { peakMemory, experts, tokensPerSecond } = after;
  return [
    `${formatSeconds(without.stepLatency)} → ${formatSeconds(after.stepLatency)}`,
    formatShare(tokensPerSecond / without.tokensPerSecond),
    `${without.gamma.toFixed(2)} → ${after.gamma.toFixed(2)}`,
    `${formatBytes(peakMemory.max)} ${peakMemory.verdict}`,
    isWhole
      ? Math.round(tokensPerSecond).toString()
      : `${formatBytes(experts.bytes)} ${experts.fit ? 'would fit' : 'would not fit'}`,
  ];
}

function recoveryCells({ recovery }: FaultedPolicy): string[] {
  if (recovery === null) return ['–', '–', '–', '–'];
  const { seconds, bytes, lostExperts, stepsMissed } = recovery;
  const experts = lostExperts > 0 ? ` (${Number(lostExperts.toFixed(1))} experts a layer)` : '';
  return [
    formatSeconds(seconds),
    stepsMissed.toFixed(1),
    formatBytes(bytes.gpus),
    `${formatBytes(bytes.storage)}${experts}`,
  ];
}
