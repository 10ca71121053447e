import { describe, expect, it } from 'vitest';
import { predictionLines } from '../../src/report/prediction-lines.js';
import type { Result } from '../../src/simulation/index.js';

/** A result of policies with mean steps and bytes of weights. */
function resultOf(...policies: [policy: object, mean: number, weights?: number, move?: number][]): Result {
  return {
    policies: policies.map(([policy, mean, weights = 0, move = 0]) => ({
      policy,
      stepLatency: { mean },
      bytes: { weights },
      time: { phases: { move } },
    })),
  } as unknown as Result;
}

const eplb = (change: object) => ({
  kind: 'eplb',
  placement: 'eplb',
  dispatch: 'even',
  movement: null,
  history: 'calibration',
  sharedExperts: 'none',
  ...change,
});

describe('prediction error apart from limits', () => {
  it('says so where weights came from host memory, which are on no link', () => {
    const [line] = predictionLines(
      resultOf([eplb({ history: { kind: 'window' } }), 8, 0, 2], [eplb({ history: 'oracle' }), 4]),
    );
    expect(line).toMatch(/prediction error, weights it moves included: steps 2.00×/);
  });

  it('sets a policy beside its twin with oracle load, and that beside balanced', () => {
    const lines = predictionLines(
      resultOf(
        [eplb({}), 6],
        [eplb({ history: { kind: 'window', steps: 9 } }), 8, 100],
        [eplb({ history: 'oracle' }), 4],
        [{ kind: 'balanced' }, 2],
        [{ kind: 'ep' }, 9],
      ),
    );
    expect(lines).toEqual([
      'eplb: prediction error: steps 1.50× as long as with oracle load; limits of placement and dispatch: 2.00× as long as balanced.',
      expect.stringMatching(
        /^eplb\(.*window.*\): prediction error, weights it moves included: steps 2.00× as long/,
      ),
    ]);
  });

  it('says nothing of policies whose plan is another', () => {
    const others = [eplb({ dispatch: 'lp' }), 6] as [object, number];
    expect(predictionLines(resultOf(others, [eplb({ history: 'oracle' }), 4]))).toEqual([]);
  });
});
