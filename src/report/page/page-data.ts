import { policyLabel } from '../../balancing/index.js';
import { isAnchor } from '../cells.js';
import type { Recording, Result } from '../../simulation/index.js';
import { headingsOf } from './headings.js';

/** Characters that fit beside a plot. */
const MOST_HEADING = 32;

/** What a page shows. */
export interface PageData {
  result: Result;
  /** What the run was seen to do; null where it was not kept. */
  recording: Recording | null;
  /** Names of the policies, each once, as the result lists them. */
  names: string[];
  /** The same beside and above plots, short enough for them. */
  headings: string[];
}

export function pageData(result: Result, recording: Recording | null): PageData {
  const seen = new Map<string, number>();
  const names = result.policies.map((p) => {
    const label = `${policyLabel(p.policy)}${isAnchor(p) ? ' (anchor)' : ''}`;
    const count = (seen.get(label) ?? 0) + 1;
    seen.set(label, count);
    return count === 1 ? label : `${label} #${count}`;
  });
  return { result, recording, names, headings: headingsOf(names, MOST_HEADING) };
}
