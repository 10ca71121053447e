import type { PolicyInput } from '../../balancing/index.js';
import { figuresOf, policyAt, shareOfCeiling, speedupText } from '../figures.js';
import { Unanswerable, type Question } from '../question.js';

/** A placement that serves keeps this much of what one planned on the other trace itself gains. */
const SERVES = 0.75;

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
    const kept = keptOf(foreign.speedup.mean, own.speedup.mean);
    const verdict =
      kept === null ? 'Nothing to keep' : kept >= SERVES ? 'Yes' : kept > 0.25 ? 'In part' : 'No';
    return {
      sentence:
        `${verdict}: on ${desk.other}, EPLB's placement of this trace is ${speedupText(foreign)} as fast as ep, one planned on ` +
        `that trace itself (held-out, too) ${speedupText(own)}${kept === null ? '' : `; ${(100 * kept).toFixed(0)} % of the gain is kept`}.`,
      rows: [foreign, own].map((policy, i) => ({
        plannedOn: i === 0 ? 'this trace' : 'the other trace',
        ...figuresOf(policy),
        shareOfCeiling: shareOfCeiling(result, policy),
      })),
      commands: [command],
    };
  },
};

/** Share of the saved time; null where the trace's own placement saves less than 1 %. */
function keptOf(foreign: number, own: number): number | null {
  const gain = 1 - 1 / own;
  return gain < 0.01 ? null : (1 - 1 / foreign) / gain;
}
