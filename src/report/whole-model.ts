import type { PolicyResult, Result } from '../simulation/index.js';
import { nameCell } from './cells.js';
import { plainTable } from './plain-table.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

/** What a step of the whole model means to its users and to its memory; nothing in scope `layer`. */
export function servingTable({ policies, routing }: Result, columns?: number): string[] {
  const rows = policies.filter(({ serving }) => serving !== undefined);
  if (rows.length === 0) return [];
  const decode = rows[0].serving!.timePerOutputToken !== null;
  const priced = rows.some(({ serving }) => serving!.costPerMillionTokens !== null);
  const head = [
    '',
    'tokens/s per GPU',
    decode ? 'time per token' : 'time to first token',
    ...(priced ? ['cost per 1M tokens'] : []),
    'γ GPU at worst',
    'buffers at worst',
    'KV tokens per GPU',
    'vs ep',
    'does not fit',
  ];
  const table = plainTable(
    head,
    rows.map((p) => servingRow(p, priced, routing.varies)),
    columns,
  );
  return [`The whole model\n${table}`, ''];
}

function servingRow(p: PolicyResult, priced: boolean, varies: boolean): string[] {
  const { timePerOutputToken, timeToFirstToken, costPerMillionTokens } = p.serving!;
  const { gamma, dynamic, kvTokens, doesNotFit } = p.memory!;
  return [
    `  ${nameCell(p)}`,
    Math.round(p.tokensPerSecondPerGpu).toLocaleString('en'),
    formatSeconds((timePerOutputToken ?? timeToFirstToken)!),
    ...(priced ? [costPerMillionTokens === null ? '–' : costPerMillionTokens.toFixed(3)] : []),
    gamma.credible.toFixed(2),
    formatBytes(Math.round(dynamic.credible)),
    kvTokens.room.toLocaleString('en'),
    kvTokens.overEp === 0 ? '–' : signed(kvTokens.overEp),
    doesNotFit.share === 0
      ? varies
        ? `in under ${formatShare(doesNotFit.high)} of steps`
        : 'in no step'
      : `in ${formatShare(doesNotFit.share)} of steps [${formatShare(doesNotFit.low)}, ${formatShare(doesNotFit.high)}]`,
  ];
}

/** "+43,110". */
function signed(count: number): string {
  return `${count > 0 ? '+' : '−'}${Math.abs(count).toLocaleString('en')}`;
}

/** Where the step of `ep` goes, who waits for whom, and what fills its memory; nothing in scope `layer`. */
export function wholeModelLines({ policies }: Result): string[] {
  const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
  if (ep.memory === undefined) return [];
  const { critical, waitingFor } = ep.time;
  const parts = Object.entries(critical)
    .sort(([, a], [, b]) => b - a)
    .map(([phase, seconds]) => `${phase} ${formatSeconds(seconds)}`);
  const { weights, replicas, otherWeights = 0, kvCache = 0 } = ep.peakMemory.byCategory;
  const filled = [
    `experts ${formatBytes(weights + replicas)}`,
    `other weights ${formatBytes(otherWeights)}`,
    `KV cache ${formatBytes(kvCache)}`,
    `buffers ${formatBytes(ep.peakMemory.max - weights - replicas - otherWeights - kvCache)}`,
  ];
  const { kvTokens, buffers } = ep.memory;
  return [
    `A step of ep: ${parts.join(', ')}.`,
    `A GPU waits ${formatSeconds(waitingFor!.source)} of it for attention and the like on others (longest over mean ` +
      `${ep.imbalance.attention!.toFixed(2)}), ${formatSeconds(waitingFor!.experts)} for their experts.`,
    `Fullest GPU of ep: ${filled.join(', ')}; its runtime's buffers are ${buffers}.`,
    `at worst: what one step of a thousand is credible to exceed. KV tokens: what fits beside weights and such a step, ` +
      `${formatBytes(kvTokens.bytesPerToken)} each.`,
  ];
}
