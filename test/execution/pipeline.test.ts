import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { pipelineSteps, warmupOfStage } from '../../src/execution/index.js';

const times = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 8 }))
  .chain(([stages, microBatches]) => {
    const each = fc.array(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: microBatches, maxLength: microBatches }),
      { minLength: stages, maxLength: stages },
    );
    return fc.record({ forward: each, backward: each });
  });

/** Every stage and micro-batch alike. */
const equal = (stages: number, microBatches: number, seconds: number) =>
  Array.from({ length: stages }, () => new Array<number>(microBatches).fill(seconds));

describe('1F1B', () => {
  it('takes two stages and three micro-batches in the order worked out by hand', () => {
    const steps = pipelineSteps({ forward: equal(2, 3, 1), backward: equal(2, 3, 2) }, 0);
    const shown = steps.map((own) =>
      own.map(
        ({ microBatch, backward, start, end }) => `${backward ? 'B' : 'F'}${microBatch} ${start}-${end}`,
      ),
    );
    expect(shown).toEqual([
      ['F0 0-1', 'F1 1-2', 'B0 4-6', 'F2 6-7', 'B1 7-9', 'B2 10-12'],
      ['F0 1-2', 'B0 2-4', 'F1 4-5', 'B1 5-7', 'F2 7-8', 'B2 8-10'],
    ]);
  });

  it('a slow micro-batch in one stage holds the others up', () => {
    // The last stage takes 5 instead of 1 for micro-batch 0: its backward, and all behind it, come 4 later.
    const forward = [
      [1, 1],
      [5, 1],
    ];
    const [first] = pipelineSteps({ forward, backward: equal(2, 2, 1) }, 0);
    expect(first.map(({ start }) => start)).toEqual([0, 1, 7, 9]);
  });

  it('what is sent between stages takes its time on every hop', () => {
    const at = (send: number) =>
      pipelineSteps({ forward: equal(3, 1, 1), backward: equal(3, 1, 1) }, send)[0];
    // Two hops there and two back.
    expect(at(0.5).at(-1)!.end).toBe(at(0).at(-1)!.end + 4 * 0.5);
  });

  test.prop([fc.integer({ min: 1, max: 6 }), fc.integer({ min: 6, max: 12 })])(
    'with equal times takes (micro-batches + stages − 1) · (forward + backward)',
    (stages, microBatches) => {
      const steps = pipelineSteps(
        { forward: equal(stages, microBatches, 3), backward: equal(stages, microBatches, 5) },
        0,
      );
      expect(steps[0].at(-1)!.end).toBe((microBatches + stages - 1) * 8);
    },
  );

  test.prop([times, fc.integer({ min: 0, max: 3 })])(
    'keeps every dependency, lets no stage do two things at once, and waits for nothing else',
    ({ forward, backward }, send) => {
      const stages = forward.length;
      const microBatches = forward[0].length;
      const steps = pipelineSteps({ forward, backward }, send);
      const find = (stage: number, m: number, back: boolean) =>
        steps[stage].find(({ microBatch, backward: b }) => microBatch === m && b === back)!;
      steps.forEach((own, stage) => {
        expect(own.length).toBe(2 * microBatches);
        let alive = 0;
        own.forEach((step, i) => {
          alive += step.backward ? -1 : 1;
          expect(alive).toBeLessThanOrEqual(warmupOfStage(stage, stages, microBatches) + 1);
          const neighbour = step.backward ? stage + 1 : stage - 1;
          const arrival =
            neighbour < 0 || neighbour >= stages
              ? 0
              : find(neighbour, step.microBatch, step.backward).end + send;
          expect(step.start).toBe(Math.max(arrival, i === 0 ? 0 : own[i - 1].end));
          if (step.backward)
            expect(step.start).toBeGreaterThanOrEqual(find(stage, step.microBatch, false).end);
        });
        expect(alive).toBe(0);
      });
    },
  );
});
