import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { formatFactor } from './units.js';

/**
 * What of a policy's step is prediction error and what the placement cannot do better: against the same choices with
 * oracle load, and of those against the anchor `balanced`. A line for every policy that has such a twin in the run.
 */
export function predictionLines({ policies }: Result): string[] {
  const balanced = policies.find(({ policy }) => policy.kind === 'balanced');
  const oracles = policies.filter((result) => historyOf(result) === 'oracle');
  return policies.flatMap((own) => {
    const history = historyOf(own);
    if (history === null || history === 'oracle') return [];
    const oracle = oracles.find((one) => planOf(one) === planOf(own));
    if (oracle === undefined) return [];
    // Weights from host memory cross no link between GPUs.
    const moves = own.bytes.weights > oracle.bytes.weights || moveSeconds(own) > moveSeconds(oracle);
    const moving = moves ? ', weights it moves included' : '';
    const limit =
      balanced === undefined
        ? ''
        : `; limits of placement and dispatch: ${ratio(oracle, balanced)} as long as ${policyLabel(balanced.policy)}`;
    return [
      `${policyLabel(own.policy)}: prediction error${moving}: steps ${ratio(own, oracle)} as long as with oracle load${limit}.`,
    ];
  });
}

function moveSeconds({ time }: PolicyResult): number {
  return time.phases.move ?? 0;
}

function ratio(a: PolicyResult, b: PolicyResult): string {
  return formatFactor(a.stepLatency.mean / b.stepLatency.mean);
}

/** Kind of the history that a combination plans from; null for other policies. */
function historyOf({ policy }: PolicyResult): string | null {
  if (!('history' in policy)) return null;
  return typeof policy.history === 'string' ? policy.history : policy.history.kind;
}

/** Everything that decides a plan but its history and how weights move. */
function planOf({ policy }: PolicyResult): string {
  if (!('history' in policy)) return '';
  const { placement, dispatch, sharedExperts } = policy;
  return JSON.stringify([placement, dispatch, sharedExperts].map(nameOf));
}

/** Choices by name and by their default options are the same. */
function nameOf(choice: string | { kind: string }): unknown {
  return typeof choice !== 'string' && Object.keys(choice).length === 1 ? choice.kind : choice;
}
