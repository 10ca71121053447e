import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { MaxMinFabric } from '../../src/engine/index.js';
import { progressiveFilling, type PlainFlow } from './progressive-filling.js';

const LINKS = 7;

const flowArbitrary = fc
  .record({
    links: fc.uniqueArray(fc.nat(LINKS - 1), { minLength: 1, maxLength: 4 }),
    bytes: fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constantFrom(10, 100)),
    join: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 })),
  })
  .map((flow): PlainFlow => flow);

/** Runs flows, each as a transfer of its own that begins at 0 with its join time as latency. */
function run(capacities: number[], flows: PlainFlow[], look?: (fabric: MaxMinFabric) => void): number[] {
  const fabric = new MaxMinFabric(Float64Array.from(capacities));
  fabric.declareSingles(flows.length);
  flows.forEach(({ links, bytes, join }, i) => {
    const [a, b = -1, c = -1, d = -1] = links;
    fabric.addFlow(i, bytes, join, a, b, c, d);
  });
  flows.forEach((_, i) => fabric.begin(i, 0));
  const finish = new Array<number>(flows.length);
  const ended = new Int32Array(flows.length);
  for (let left = flows.length; left > 0;) {
    const now = fabric.nextCompletion();
    look?.(fabric);
    const count = fabric.complete(now, ended);
    for (let i = 0; i < count; i++) finish[ended[i]] = now;
    left -= count;
  }
  return finish;
}

describe('MaxMinFabric', () => {
  test.prop(
    [
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: LINKS, maxLength: LINKS }),
      fc.array(flowArbitrary, { minLength: 1, maxLength: 40 }),
    ],
    { numRuns: 2000 },
  )('finishes every flow when progressive filling does', (capacities, flows) => {
    const expected = progressiveFilling(capacities, flows);
    run(capacities, flows).forEach((time, i) => {
      expect(Math.abs(time - expected[i])).toBeLessThanOrEqual(1e-7 * expected[i]);
    });
  });

  test.prop(
    [
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: LINKS, maxLength: LINKS }),
      fc.array(flowArbitrary, { minLength: 1, maxLength: 30 }),
    ],
    { numRuns: 500 },
  )('invariant 3: no link ever carries more than its capacity', (capacities, flows) => {
    run(capacities, flows, (fabric) => {
      capacities.forEach((capacity, link) => {
        expect(fabric.rateOnLink(link)).toBeLessThanOrEqual(capacity * (1 + 1e-9));
      });
    });
  });
});
