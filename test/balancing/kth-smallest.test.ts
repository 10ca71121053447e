import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { kthSmallest } from '../../src/balancing/dispatch/kth-smallest.js';

test.prop([
  fc.array(fc.oneof(fc.float({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.25, 0.5)), {
    minLength: 1,
    maxLength: 80,
  }),
  fc.nat(),
  fc.nat(10),
])('is what sorting puts there, and leaves what stands beside its part', (numbers, at, beside) => {
  const values = Float32Array.from([...Array<number>(beside).fill(-1), ...numbers, 7]);
  const k = at % numbers.length;
  const sorted = Float32Array.from(numbers).sort();
  expect(kthSmallest(values, beside, beside + numbers.length, k)).toBe(sorted[k]);
  expect([...values.subarray(0, beside)].every((own) => own === -1)).toBe(true);
  expect(values.at(-1)).toBe(7);
  expect([...values.subarray(beside, beside + numbers.length)].sort((a, b) => a - b)).toEqual([...sorted]);
});
