import { isYardstick, policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { offloadVerdict } from './offload.js';
import { formatBytes, formatFactor, formatSeconds, formatShare } from './units.js';

/** Share of copies that a policy drops, computes at lowered precision or gives to other experts. */
export function lossOf({ copies, loss }: PolicyResult): number {
  if (loss === null) return 0;
  return (copies.dropped + loss.quantisedCopies + (loss.rewritten?.copies ?? 0)) / copies.routed;
}

/**
 * How many times as fast as the best exact choice an inexact policy must be, at the low end of its interval, to
 * be recommended: 2 %. Less is not worth a changed output.
 */
const WORTH_A_LOSS = 1.02;

/** What to do, in one sentence. */
export function verdict(result: Result): string {
  if (result.offload) return offloadVerdict(result.offload);
  const ep = result.policies.find(({ policy }) => policy.kind === 'ep')!;
  const best = chosen(result, ep);
  const inexact = fasterInexact(result, best ?? ep, ep);
  const first = best === null ? nothingFits(result) : `${recommend(result, best, ep)}${tooFewSteps(result)}`;
  return `${first}${inexact}`;
}

/** The fastest exact policy that fits, or an allowed inexact one that is faster beyond doubt. */
function chosen({ policies, fastest, allowedLoss }: Result, ep: PolicyResult): PolicyResult | null {
  const allowed = policies
    .filter((p) => !p.exact && p.oom === null && lossOf(p) <= allowedLoss)
    .sort((a, b) => a.stepLatency.mean - b.stepLatency.mean);
  if (fastest === null) return allowed[0] ?? null;
  const first = policies[fastest.policy];
  const exact = first !== ep && ep.oom === null && !isFaster(first) ? ep : first;
  return allowed.find((p) => isWorthALoss(p, exact, ep)) ?? exact;
}

/** Whether the interval of the speed-up leaves EP out. */
function isFaster({ speedup }: PolicyResult): boolean {
  return speedup.low > 1;
}

/** Whether an inexact policy is faster than EP (where that fits) and the best exact choice beyond doubt. */
function isWorthALoss(p: PolicyResult, exact: PolicyResult, ep: PolicyResult): boolean {
  return (ep.oom !== null || isFaster(p)) && p.speedup.low >= WORTH_A_LOSS * exact.speedup.mean;
}

/** What the sentence can't say where the steps are too few to tell how others would lie. */
function tooFewSteps({ policies, routing: { steps } }: Result): string {
  if (policies.every(({ speedup }) => speedup.sampling !== null)) return '';
  return steps === 1
    ? ' One step says nothing of others: run more to be sure.'
    : ` ${steps} steps are too few to say how others would lie: run more to be sure.`;
}

/** The interval of the speed-up; nothing where there is nothing to see of it. */
function rangeOf({ speedup: { low, high } }: PolicyResult): string {
  const [from, to] = [formatFactor(low), formatFactor(high)];
  return from === to ? '' : ` [${from}, ${to}]`;
}

function recommend(result: Result, best: PolicyResult, ep: PolicyResult): string {
  const name = policyLabel(best.policy);
  if (best === ep) return stay(result, ep);
  const { mean } = best.speedup;
  const range = rangeOf(best);
  const saved = ep.peakMemory.max - best.peakMemory.max;
  const memory =
    Math.abs(saved) < 0.005 * ep.peakMemory.max
      ? 'the same peak memory'
      : `${formatBytes(Math.abs(saved))} ${saved > 0 ? 'less' : 'more'} peak memory on the fullest GPU`;
  const output = best.exact
    ? 'unchanged output'
    : `${formatShare(lossOf(best))} of the copies ${best.loss?.rewritten ? 'given to other experts' : 'dropped or quantised'}`;
  const cache = cacheOf(best);
  const need = ep.oom === null ? '' : `, and ep does not fit (it needs ${formatBytes(ep.peakMemory.max)})`;
  const ties = tiesOf(result, best);
  return `Use ${name}: ${formatFactor(mean)} as fast as ep${range}, ${memory}${risk(best)}${cache}, ${output}${need}${ties}.`;
}

/** What the policy's memory is worth in KV cache, where the whole model is simulated. */
function cacheOf({ memory }: PolicyResult): string {
  if (memory === undefined || memory.kvTokens.overEp === 0) return '';
  const { overEp } = memory.kvTokens;
  return ` (${Math.abs(overEp).toLocaleString('en')} ${overEp > 0 ? 'more' : 'fewer'} KV tokens per GPU)`;
}

/** What the sentence says of a policy that fits only as long as its allocator wastes nothing. */
function risk({ peakMemory: { verdict, max, nonTensor, capacity } }: PolicyResult): string {
  if (verdict !== 'at risk') return '';
  return (
    ` at risk (${formatBytes(max + nonTensor)} of ${formatBytes(capacity)}, before what a caching allocator ` +
    'fragments)'
  );
}

function tiesOf({ policies, fastest }: Result, best: PolicyResult): string {
  if (fastest === null || policies[fastest.policy] !== best) return '';
  const names = fastest.ties.map((i) => policyLabel(policies[i].policy));
  return names.length === 0 ? '' : `; it can't be told from ${names.join(', ')}`;
}

function stay(result: Result, ep: PolicyResult): string {
  const { policies } = result;
  const memory = risk(ep) === '' ? '' : `; the memory of ep is${risk(ep)}`;
  const others = policies.filter((p) => p.exact && p !== ep && !isYardstick(p.policy));
  if (others.length === 0) {
    return `ep takes ${formatSeconds(ep.stepLatency.mean)}; no other exact policy was run${memory}.`;
  }
  const best = others.reduce((a, b) => (b.speedup.mean > a.speedup.mean ? b : a));
  const misfit = best.oom === null ? '' : ', and it does not fit';
  const name = policyLabel(best.policy);
  const factor = formatFactor(best.speedup.mean);
  return `Stay with ep: no exact policy is faster beyond doubt (${name}: ${factor} as fast${rangeOf(best)}${misfit})${memory}.`;
}

function nothingFits({ policies }: Result): string {
  const least = policies
    .filter(({ policy }) => !isYardstick(policy))
    .reduce((a, b) => (b.peakMemory.max < a.peakMemory.max ? b : a));
  const { max, nonTensor, capacity } = least.peakMemory;
  return (
    `No exact policy fits: ${policyLabel(least.policy)} needs least, ${formatBytes(max + nonTensor)} of ` +
    `${formatBytes(capacity)}.`
  );
}

function fasterInexact({ policies, allowedLoss }: Result, best: PolicyResult, ep: PolicyResult): string {
  const faster = policies
    .filter((p) => !p.exact && p !== best && p.oom === null && lossOf(p) > allowedLoss)
    .filter((p) => isWorthALoss(p, best, ep))
    .map((p) => `${policyLabel(p.policy)} (${formatShare(lossOf(p))} of the copies)`);
  if (faster.length === 0) return '';
  return ` Faster only at a loss above the allowed ${formatShare(allowedLoss)}: ${faster.join(', ')}.`;
}
