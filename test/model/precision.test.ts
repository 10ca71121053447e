/** Precision plans (MC, arXiv 2410.06270; MC#, arXiv 2510.10962), and bits in memory. */
import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expertWeights } from '../../src/hardware/index.js';
import {
  completeShape,
  expertPrecision,
  modelBytes,
  modelPresets,
  otherWeights,
  planPrecision,
  sensitivitySchema,
  shapeSchema,
  wholeModel,
} from '../../src/model/index.js';
import { assignBits, precisionCosts } from '../../src/model/precision/assign-bits.js';
import { shared } from '../shared.js';

interface Published {
  counts: number[][];
  weight_sums: number[][];
  quant_loss: number[][][];
  bit_plans: Record<string, number[][]>;
}

/** What MC published of Mixtral-8x7B; it names no licence, so that it is no part of the project. */
function published(): Published {
  return JSON.parse(readFileSync(join(shared!, 'oracles/precision-plan.json'), 'utf8')) as Published;
}

function publishedSensitivity({ counts, weight_sums, quant_loss }: Published) {
  return sensitivitySchema.parse({
    schema: 'epsim/sensitivity@1',
    bits: [1, 2, 3],
    counts,
    gateWeights: weight_sums,
    losses: quant_loss,
  });
}

const mixtral = wholeModel(completeShape(shapeSchema.parse(modelPresets['mixtral-8x7b'])));
const MC = { overheadBits: 0.25, residualShare: 0, dequantisation: 1, restBits: 4 };

/** The least cost of all assignments that MC's program allows, by trying every one. */
function cheapest(costs: readonly number[][], bits: readonly number[], budget: number): number {
  let least = Infinity;
  const assign = (expert: number, used: number, cost: number, given: Set<number>) => {
    if (used > budget) return;
    if (expert === costs.length) {
      if (bits.slice(1).every((own) => given.has(own))) least = Math.min(least, cost);
      return;
    }
    bits.forEach((own, width) =>
      assign(expert + 1, used + own, cost + costs[expert][width], new Set([...given, own])),
    );
  };
  assign(0, 0, 0, new Set());
  return least;
}

describe('precision plans', () => {
  it.skipIf(shared === null)('every published plan of Mixtral-8x7B comes out as published', () => {
    const oracle = published();
    const sensitivity = publishedSensitivity(oracle);
    let layers = 0;
    for (const [budget, plans] of Object.entries(oracle.bit_plans)) {
      const { bits } = planPrecision(sensitivity, Number(budget) / 8);
      plans.forEach((plan, layer) => {
        expect(bits[layer], `budget ${budget}, layer ${layer}`).toEqual(plan);
        layers++;
      });
    }
    expect(layers).toBe(32 * Object.keys(oracle.bit_plans).length);
  });

  it.skipIf(shared === null)('memory of the published plans is within 1 % of the published column', () => {
    const sensitivity = publishedSensitivity(published());
    // Bits per 8 experts: GB and mean bits of all weights, as published.
    for (const [budget, gigabytes, meanBits] of [
      [20, 16.24, 2.54],
      [16, 13.41, 2.05],
      [12, 10.82, 1.57],
    ]) {
      const plan = planPrecision(sensitivity, budget / 8);
      const { bits, restBits } = expertPrecision(plan.bits, MC);
      const rest = otherWeights(mixtral);
      const weights = expertWeights(mixtral);
      const bytes = modelBytes(bits, weights, { weights: rest, bits: restBits! });
      expect(Math.abs(bytes / 1e9 / gigabytes - 1)).toBeLessThan(0.01);
      const experts = 32 * 8 * weights;
      const mean = (experts * plan.averageBits + rest * 4) / (experts + rest);
      expect(mean).toBeGreaterThan(budget / 8);
      expect(mean).toBeLessThan(budget / 8 + 0.09);
      expect(Math.abs(mean - meanBits)).toBeLessThan(0.02);
    }
  });

  test.prop(
    [
      fc.constantFrom<number[][]>([1, 2, 3], [2, 4], [1, 2, 4, 8], [3]),
      fc.array(fc.array(fc.nat(1000), { minLength: 4, maxLength: 4 }), { minLength: 3, maxLength: 6 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
    ],
    { numRuns: 300 },
  )('costs what the cheapest of all assignments costs, and keeps what it promises', (bits, costs, at) => {
    const least = costs.length * bits[0] + bits.slice(1).reduce((sum, own) => sum + own - bits[0], 0);
    const budget = Math.floor(least + at * (costs.length * bits[bits.length - 1] - least));
    const plan = assignBits(costs, bits, budget);
    expect(plan.cost).toBe(
      cheapest(
        costs.map((own) => own.slice(0, bits.length)),
        bits,
        budget,
      ),
    );
    expect(plan.bits.reduce((sum, own) => sum + own, 0)).toBeLessThanOrEqual(budget);
    expect(plan.bits.reduce((sum, own, e) => sum + costs[e][bits.indexOf(own)], 0)).toBe(plan.cost);
    for (const own of bits.slice(1)) expect(plan.bits).toContain(own);
  });

  it('plans 256 experts of a layer exactly: of equal losses the most used get the most bits', () => {
    const counts = Array.from({ length: 256 }, (_, e) => 1 + e);
    const costs = precisionCosts({ counts, gateWeights: counts, losses: counts.map(() => [9, 3, 1]) });
    const { bits } = assignBits(costs, [1, 2, 3], 512);
    expect(bits.reduce((sum, own) => sum + own, 0)).toBe(512);
    for (let e = 1; e < 256; e++) expect(bits[e]).toBeGreaterThanOrEqual(bits[e - 1]);
  });

  it('costs are use times gate weight to the power of 1.5 times loss, shares of the layer', () => {
    const costs = precisionCosts({
      counts: [1, 3],
      gateWeights: [4, 0],
      losses: [
        [8, 2],
        [5, 1],
      ],
    });
    expect(costs[0][0]).toBeCloseTo(0.25 * 8, 12);
    expect(costs[0][1]).toBeCloseTo(0.25 * 2, 12);
    expect(costs[1]).toEqual([0, 0]);
  });

  it('says what a budget that is too small needs', () => {
    const costs = Array.from({ length: 8 }, () => [3, 2, 1]);
    expect(assignBits(costs, [1, 2, 3], 11).bits.reduce((sum, own) => sum + own, 0)).toBe(11);
    expect(() => assignBits(costs, [1, 2, 3], 10)).toThrow(
      /found 10 bits for 8 experts, allowed: at least 11/,
    );
    expect(() => assignBits([[1, 1, 1]], [1, 2, 3], 10)).toThrow(/3 widths for 1 experts/);
  });
});

describe('bits in memory', () => {
  it('a residual of one bit on a tenth of the channels makes 2 bits 2.1, scales beside', () => {
    const { bits } = expertPrecision([[2, 3]], {
      overheadBits: 0.25,
      residualShare: 0.1,
      dequantisation: 1,
      restBits: undefined,
    });
    expect(Array.from(bits[0], (own) => own - 0.25)).toEqual([2.1, 3.1]);
  });

  it('bytes are Σ P (b + 0.25) / 8, and the rest', () => {
    const { bits } = expertPrecision(
      [
        [1, 3],
        [2, 2],
      ],
      MC,
    );
    // Two layers of two experts of 80 weights, 1 + 3 + 2 + 2 bits and four times 0.25; 16 others at 4.25 bits.
    expect(modelBytes(bits, 80, { weights: 16, bits: 4.25 })).toBe((80 * 9 + 16 * 4.25) / 8);
  });
});
