import type { PolicyInput } from '../../balancing/index.js';
import type { PolicyResult } from '../../simulation/index.js';
import {
  figuresOf,
  isSure,
  isTie,
  policyAt,
  shareOfCeiling,
  speedupText,
  type Interval,
} from '../figures.js';
import { Unanswerable, type Question } from '../question.js';

/** A placement that serves keeps this much of what one planned on the other trace itself gains. */
const SERVES = 0.75;
/** One that keeps less does not serve. */
const FAILS = 0.25;
/** Share of the time that the trace's own placement must save for a share of it to say something. */
const WORTH_KEEPING = 0.01;

export const otherTrace: Question = {
  name: 'other-trace',
  asks: 'Does a placement planned on this trace hold on another?',
  async answer(desk) {
    if (desk.other === null) {
      throw new Unanswerable(
        'no other trace was given (--other <trace>); redundancy scores on the rest of this one',
      );
    }
    const { result, command } = await desk.scoreOnOther((offline, map): PolicyInput[] => [
      'ep',
      { kind: 'combination', placement: { kind: 'file', path: map }, dispatch: 'even' },
      { kind: 'eplb', history: offline },
    ]);
    const [foreign, own] = [policyAt(result, 1), policyAt(result, 2)];
    const kept = keptOf(foreign, own);
    const tie = isTie(result, 1, 2) === true;
    return {
      sentence:
        `${verdict(kept, tie)}: on ${desk.other}, EPLB's placement of this trace is ${speedupText(foreign)} as fast as ep, one planned on ` +
        `that trace itself (held-out, too) ${speedupText(own)}${keptText(kept, tie)}.`,
      rows: [foreign, own].map((policy, i) => ({
        plannedOn: i === 0 ? 'this trace' : 'the other trace',
        ...figuresOf(policy),
        shareOfCeiling: shareOfCeiling(result, policy),
      })),
      commands: [command],
    };
  },
};

/** Share of the saved time with the range that both intervals allow; null where there is nothing to keep for sure. */
function keptOf(foreign: PolicyResult, own: PolicyResult): Interval | null {
  const saved = (speedup: number) => 1 - 1 / speedup;
  const { mean, low, high } = own.speedup;
  if (isSure(own) !== 'faster' || saved(mean) < WORTH_KEEPING) return null;
  const of = foreign.speedup;
  const least = saved(of.low) / saved(of.low < 1 ? low : high);
  const most = saved(of.high) / saved(of.high < 1 ? high : low);
  return { mean: saved(of.mean) / saved(mean), low: least, high: most };
}

function verdict(kept: Interval | null, tie: boolean): string {
  if (kept === null) return 'Nothing to keep beyond doubt';
  if (kept.mean >= SERVES) return 'Yes';
  if (tie) return 'Not beyond doubt';
  return kept.mean > FAILS ? 'In part' : 'No';
}

function keptText(kept: Interval | null, tie: boolean): string {
  if (kept === null) return '';
  if (tie) return '; the paired interval does not tell the two apart';
  const [share, low, high] = [kept.mean, kept.low, kept.high].map((value) => (100 * value).toFixed(0));
  return `; ${share} % [${low}, ${high}] of the gain is kept`;
}
