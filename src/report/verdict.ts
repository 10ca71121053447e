import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { formatBytes, formatFactor, formatSeconds, formatShare } from './units.js';

/** Share of copies that a policy drops or computes at lowered precision. */
export function lossOf({ copies, loss }: PolicyResult): number {
  return loss === null ? 0 : (copies.dropped + loss.quantisedCopies) / copies.routed;
}

/** What to do, in one sentence. */
export function verdict(result: Result): string {
  const ep = result.policies.find(({ policy }) => policy.kind === 'ep')!;
  const best = chosen(result, ep);
  const inexact = fasterInexact(result, best ?? ep);
  return `${best === null ? nothingFits(result) : recommend(result, best, ep)}${inexact}`;
}

/** The fastest exact policy that fits, or an allowed inexact one that is faster still. */
function chosen({ policies, fastest, allowedLoss }: Result, ep: PolicyResult): PolicyResult | null {
  const exact = fastest === null ? null : policies[fastest.policy];
  const allowed = policies.filter((p) => !p.exact && p.oom === null && lossOf(p) <= allowedLoss);
  const inexact = allowed.sort((a, b) => a.stepLatency.mean - b.stepLatency.mean)[0];
  if (inexact && (exact === null || inexact.stepLatency.mean < exact.stepLatency.mean)) return inexact;
  if (exact === null) return null;
  return exact !== ep && ep.oom === null && !isFaster(exact) ? ep : exact;
}

/** Whether the interval of the speed-up leaves EP out. */
function isFaster({ speedup }: PolicyResult): boolean {
  return speedup.low !== null && speedup.low > 1;
}

/** The interval of the speed-up; nothing where there is none, or nothing to see of it. */
function rangeOf({ speedup: { low, high } }: PolicyResult): string {
  if (low === null || high === null) return '';
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
    : `${formatShare(lossOf(best))} of the copies dropped or quantised`;
  const need = ep.oom === null ? '' : `, and ep does not fit (it needs ${formatBytes(ep.peakMemory.max)})`;
  const ties = tiesOf(result, best);
  return `Use ${name}: ${formatFactor(mean)} as fast as ep${range}, ${memory}, ${output}${need}${ties}.`;
}

function tiesOf({ policies, fastest }: Result, best: PolicyResult): string {
  if (fastest === null || policies[fastest.policy] !== best) return '';
  const names = fastest.ties.map((i) => policyLabel(policies[i].policy));
  return names.length === 0 ? '' : `; these steps can't tell it from ${names.join(', ')}`;
}

function stay({ policies }: Result, ep: PolicyResult): string {
  const others = policies.filter((p) => p.exact && p !== ep && p.policy.kind !== 'balanced');
  if (others.length === 0)
    return `ep takes ${formatSeconds(ep.stepLatency.mean)}; no other exact policy was run.`;
  const best = others.reduce((a, b) => (b.speedup.mean > a.speedup.mean ? b : a));
  const { mean } = best.speedup;
  const range = rangeOf(best);
  const misfit = best.oom === null ? '' : ', and it does not fit';
  return (
    `Stay with ep: no exact policy is faster beyond doubt (${policyLabel(best.policy)}: ` +
    `${formatFactor(mean)} as fast${range}${misfit}).`
  );
}

function nothingFits({ policies }: Result): string {
  const least = policies
    .filter(({ policy }) => policy.kind !== 'balanced')
    .reduce((a, b) => (b.peakMemory.max < a.peakMemory.max ? b : a));
  const { max, nonTensor, capacity } = least.peakMemory;
  return (
    `No exact policy fits: ${policyLabel(least.policy)} needs least, ${formatBytes(max + nonTensor)} of ` +
    `${formatBytes(capacity)}.`
  );
}

function fasterInexact({ policies, allowedLoss }: Result, best: PolicyResult): string {
  const faster = policies
    .filter((p) => !p.exact && p !== best && p.oom === null && lossOf(p) > allowedLoss)
    .filter((p) => p.stepLatency.mean < best.stepLatency.mean)
    .map((p) => `${policyLabel(p.policy)} (${formatShare(lossOf(p))} of the copies)`);
  if (faster.length === 0) return '';
  return ` Faster only at a loss above the allowed ${formatShare(allowedLoss)}: ${faster.join(', ')}.`;
}
