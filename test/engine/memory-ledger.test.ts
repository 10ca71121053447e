import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { MemoryLedger } from '../../src/engine/index.js';

describe('MemoryLedger', () => {
  it('keeps the composition, time and tag of the highest moment', () => {
    const ledger = new MemoryLedger(2, 2, Float64Array.of(Infinity, Infinity));
    ledger.tag = 5;
    ledger.allocate(2, 100, 1);
    ledger.allocate(3, 50, 2);
    ledger.tag = 6;
    ledger.free(2, 100);
    ledger.allocate(3, 60, 3);
    expect(ledger.peakOf(1)).toEqual({ bytes: 150, byCategory: [100, 50], time: 2, tag: 5 });
    expect(ledger.peakOf(0).bytes).toBe(0);
    expect(ledger.totalOf(1)).toBe(110);
  });

  it('records the first allocation beyond a limit, and goes on', () => {
    const ledger = new MemoryLedger(2, 1, Float64Array.of(100, 100));
    ledger.allocate(1, 100, 1);
    expect(ledger.overflow).toBeNull();
    ledger.allocate(1, 1, 2);
    ledger.allocate(0, 500, 3);
    expect(ledger.overflow).toEqual({ pool: 1, category: 0, needed: 101, limit: 100, time: 2, tag: 0 });
    expect(ledger.totalOf(0)).toBe(500);
  });

  it('refuses to free more than there is', () => {
    const ledger = new MemoryLedger(1, 1, Float64Array.of(Infinity));
    ledger.allocate(0, 10, 0);
    expect(() => ledger.free(0, 11)).toThrow('-1 bytes');
  });

  test.prop([fc.array(fc.tuple(fc.nat(3), fc.nat(2), fc.integer({ min: 1, max: 1000 })), { maxLength: 60 })])(
    'invariant 4: the peak is at least every sample, and all that is freed leaves nothing',
    (allocations) => {
      const ledger = new MemoryLedger(4, 3, new Float64Array(4).fill(Infinity));
      const highest = [0, 0, 0, 0];
      for (const [pool, category, bytes] of allocations) {
        ledger.allocate(pool * 3 + category, bytes, 0);
        highest[pool] = Math.max(highest[pool], ledger.totalOf(pool));
      }
      for (const [pool, category, bytes] of allocations) ledger.free(pool * 3 + category, bytes);
      highest.forEach((bytes, pool) => {
        const peak = ledger.peakOf(pool);
        expect(peak.bytes).toBe(bytes);
        expect(peak.byCategory.reduce((sum, part) => sum + part, 0)).toBe(bytes);
        expect(ledger.totalOf(pool)).toBe(0);
      });
    },
  );
});
