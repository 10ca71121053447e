import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { PortFabric } from '../../src/engine/index.js';

interface Transfer {
  begin: number;
  work: { port: number; bytes: number; flows: number }[];
}

/** Processor sharing at every port, simulated job by job: the oracle. */
function processorSharing(capacities: number[], transfers: Transfer[]): number[] {
  const ends = transfers.map(({ begin }) => begin);
  capacities.forEach((capacity, port) => {
    const jobs = transfers.flatMap(({ begin, work }, transfer) =>
      work
        .filter((entry) => entry.port === port)
        .map(({ bytes, flows }) => ({ transfer, begin, left: bytes, flows })),
    );
    let now = 0;
    for (let open = jobs; open.length > 0; open = open.filter((job) => job.left > 0)) {
      const running = open.filter((job) => job.begin <= now);
      const nextBegin = Math.min(...open.map((job) => job.begin).filter((begin) => begin > now));
      const weight = running.reduce((sum, job) => sum + job.flows, 0);
      const nextEnd = Math.min(...running.map((job) => now + (job.left * weight) / (job.flows * capacity)));
      const next = Math.min(nextBegin, nextEnd);
      for (const job of running) {
        job.left -= ((next - now) * capacity * job.flows) / weight;
        if (job.left <= 1e-9) {
          job.left = 0;
          ends[job.transfer] = Math.max(ends[job.transfer], next);
        }
      }
      now = next;
    }
  });
  return ends;
}

function run(capacities: number[], transfers: Transfer[]): number[] {
  const fabric = new PortFabric(Float64Array.from(capacities));
  transfers.forEach(({ work }) => {
    const transfer = fabric.declare(capacities.length);
    for (const { port, bytes, flows } of work) fabric.add(transfer, port, bytes, flows, 0);
  });
  const ends = new Array<number>(transfers.length);
  const finished = new Int32Array(transfers.length);
  const waiting = transfers
    .map(({ begin }, transfer) => ({ begin, transfer }))
    .sort((a, b) => a.begin - b.begin);
  for (let left = transfers.length; left > 0;) {
    const completion = fabric.nextCompletion();
    if (waiting.length > 0 && waiting[0].begin <= completion) {
      const { begin, transfer } = waiting.shift()!;
      fabric.begin(transfer, begin);
      continue;
    }
    const count = fabric.complete(completion, finished);
    for (let i = 0; i < count; i++) ends[finished[i]] = completion;
    left -= count;
  }
  return ends;
}

describe('PortFabric', () => {
  it("takes a transfer's busiest port's time when it is alone", () => {
    expect(
      run(
        [10, 5],
        [
          {
            begin: 2,
            work: [
              { port: 0, bytes: 40, flows: 1 },
              { port: 1, bytes: 30, flows: 1 },
            ],
          },
        ],
      ),
    ).toEqual([8]);
  });

  it('adds the latency of a port after its last byte', () => {
    const fabric = new PortFabric(Float64Array.of(10, 10));
    fabric.declare(2);
    fabric.add(0, 0, 100, 1, 3);
    fabric.add(0, 1, 110, 1, 0.5);
    fabric.begin(0, 0);
    expect(fabric.nextCompletion()).toBe(13);
  });

  it('lets transfers that overlap slow each other, in proportion to their flows', () => {
    const ends = run(
      [10],
      [
        { begin: 0, work: [{ port: 0, bytes: 100, flows: 3 }] },
        { begin: 4, work: [{ port: 0, bytes: 15, flows: 1 }] },
      ],
    );
    // Alone until 4 (60 left), then 7.5 against 2.5 bytes per second: the second ends at 10, when the first
    // has 15 left at full speed.
    expect(ends[1]).toBeCloseTo(10, 12);
    expect(ends[0]).toBeCloseTo(11.5, 12);
  });

  const few = { minLength: 1, maxLength: 8, numRuns: 1000 };
  const many = { minLength: 25, maxLength: 60, numRuns: 200 };
  describe.each([few, many])('with transfers %j', ({ numRuns, ...sizes }) => {
    const capacities = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 3, maxLength: 3 });
    const transfer = fc.record({
      begin: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 30 })),
      work: fc.uniqueArray(
        fc.record({
          port: fc.nat(2),
          bytes: fc.integer({ min: 1, max: 200 }),
          flows: fc.integer({ min: 1, max: 4 }),
        }),
        { selector: ({ port }) => port, minLength: 1, maxLength: 3 },
      ),
    });

    test.prop([capacities, fc.array(transfer, sizes)], { numRuns })(
      'ends every transfer when processor sharing at each port does',
      (given, transfers) => {
        const expected = processorSharing(given, transfers);
        run(given, transfers).forEach((end, i) => expect(end).toBeCloseTo(expected[i], 6));
      },
    );
  });
});
