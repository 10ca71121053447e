import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { CountDraw, inclusionProbabilities, TokenDraw } from '../../src/routing/inclusion.js';
import { binomial, randomStream } from '../../src/routing/index.js';

describe('binomial', () => {
  it.each([
    [20, 0.1],
    [20, 0.9],
    [1000, 0.004],
    [1000, 0.3],
    [50_000, 0.5],
    [1_000_000, 0.02],
  ])('has the mean, variance and tails of Binomial(%i, %d)', (n, p) => {
    const random = randomStream(1, `${n}/${p}`);
    const draws = 40_000;
    const [mean, deviation] = [n * p, Math.sqrt(n * p * (1 - p))];
    let sum = 0;
    let squares = 0;
    let beyond = 0;
    for (let i = 0; i < draws; i++) {
      const z = (binomial(n, p, random) - mean) / deviation;
      sum += z;
      squares += z * z;
      if (z > 2.5) beyond++;
    }
    // Five standard errors of the mean and of the variance.
    expect(Math.abs(sum / draws)).toBeLessThan(5 / Math.sqrt(draws));
    expect(Math.abs(squares / draws - 1)).toBeLessThan(5 * Math.sqrt(2.6 / draws));
    if (mean > 200) expect(Math.abs(beyond / draws - 0.0062)).toBeLessThan(0.0025);
  });

  it('equals the exact probabilities of a small case', () => {
    const random = randomStream(2, 'small');
    const seen = new Array<number>(5).fill(0);
    for (let i = 0; i < 80_000; i++) seen[binomial(4, 0.3, random)]++;
    const exact = [0.2401, 0.4116, 0.2646, 0.0756, 0.0081];
    exact.forEach((probability, k) => {
      expect(Math.abs(seen[k] / 80_000 - probability)).toBeLessThan(5 * Math.sqrt(probability / 80_000));
    });
  });
});

describe('inclusionProbabilities', () => {
  test.prop([
    fc.array(fc.double({ min: 0.001, max: 100, noNaN: true }), { minLength: 2, maxLength: 20 }),
    fc.nat(),
  ])('sum to topK, stay at most 1, and keep the order of popularity', (popularity, pick) => {
    const topK = 1 + (pick % popularity.length);
    const inclusion = inclusionProbabilities(popularity, topK);
    expect(inclusion.reduce((sum, p) => sum + p, 0)).toBeCloseTo(topK, 9);
    inclusion.forEach((p, e) => {
      expect(p).toBeLessThanOrEqual(1);
      inclusion.forEach((q, f) => {
        if (popularity[e] > popularity[f]) expect(p).toBeGreaterThanOrEqual(q - 1e-12);
      });
    });
  });

  it('gives the excess of a certain expert to the others', () => {
    expect(Array.from(inclusionProbabilities([8, 1, 1], 2))).toEqual([1, 0.5, 0.5]);
  });
});

describe('CountDraw', () => {
  test.prop([
    fc.array(fc.double({ min: 0.001, max: 50, noNaN: true }), { minLength: 1, maxLength: 12 }),
    fc.integer({ min: 1, max: 500 }),
    fc.nat(),
  ])('counts sum to tokens · topK and none exceeds the tokens', (popularity, tokens, pick) => {
    const topK = 1 + (pick % popularity.length);
    const counts = new Int32Array(popularity.length);
    new CountDraw(inclusionProbabilities(popularity, topK), topK).draw(
      tokens,
      randomStream(pick, 'counts'),
      counts,
    );
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(tokens * topK);
    counts.forEach((count) => {
      expect(count).toBeGreaterThanOrEqual(0);
      expect(count).toBeLessThanOrEqual(tokens);
    });
  });

  it('has the mean and the spread of every expert right', () => {
    const inclusion = inclusionProbabilities([4, 2, 1, 1, 0.5, 0.5], 2);
    const countDraw = new CountDraw(inclusion, 2);
    const random = randomStream(3, 'counts');
    const draws = 20_000;
    const counts = new Int32Array(6);
    const sum = new Float64Array(6);
    const squares = new Float64Array(6);
    for (let i = 0; i < draws; i++) {
      countDraw.draw(400, random, counts);
      counts.forEach((count, e) => {
        sum[e] += count;
        squares[e] += (count - 400 * inclusion[e]) ** 2;
      });
    }
    inclusion.forEach((p, e) => {
      expect(sum[e] / draws / (400 * p)).toBeCloseTo(1, 2);
      if (p < 1) expect(Math.abs(squares[e] / draws / (400 * p * (1 - p)) - 1)).toBeLessThan(0.08);
    });
  });
});

describe('TokenDraw', () => {
  const popularity = Float64Array.of(6, 3, 2, 1, 1, 1, 1, 1);

  it('picks different experts, each with its inclusion probability, pairs nearly independent', () => {
    const inclusion = inclusionProbabilities(popularity, 3);
    const draw = new TokenDraw(inclusion, 3, 1, 1).reset(randomStream(4, 'tokens'));
    const tokens = 60_000;
    const picks = new Uint16Array(3);
    const seen = new Float64Array(8);
    let pair = 0;
    for (let t = 0; t < tokens; t++) {
      draw.draw(picks, 0);
      expect(new Set(picks).size).toBe(3);
      picks.forEach((e) => seen[e]++);
      if (picks.includes(3) && picks.includes(4)) pair++;
    }
    inclusion.forEach((p, e) => expect(seen[e] / tokens).toBeCloseTo(p, 1.7));
    expect(pair / tokens).toBeGreaterThan(0.3 * inclusion[3] * inclusion[4]);
    expect(pair / tokens).toBeLessThan(1.2 * inclusion[3] * inclusion[4]);
  });

  it('obeys group limits and keeps the marginals where no group is too heavy', () => {
    const flat = Float64Array.of(2, 1, 1, 1.5, 1, 1, 2, 1, 1, 1, 1, 1);
    const inclusion = inclusionProbabilities(flat, 4);
    const draw = new TokenDraw(inclusion, 4, 4, 2).reset(randomStream(5, 'groups'));
    const tokens = 40_000;
    const picks = new Uint16Array(4);
    const seen = new Float64Array(12);
    for (let t = 0; t < tokens; t++) {
      draw.draw(picks, 0);
      expect(new Set(Array.from(picks, (e) => Math.floor(e / 3))).size).toBeLessThanOrEqual(2);
      expect(new Set(picks).size).toBe(4);
      picks.forEach((e) => seen[e]++);
    }
    inclusion.forEach((p, e) => expect(Math.abs(seen[e] / tokens / p - 1)).toBeLessThan(0.05));
  });

  it('limits a token to any of very many sets of groups', () => {
    const [experts, topK, tokens] = [256, 8, 50_000];
    const flat = new Float64Array(experts).fill(topK / experts);
    const draw = new TokenDraw(flat, topK, experts, topK).reset(randomStream(1, 'many groups'));
    const picks = new Uint16Array(topK);
    const seen = new Float64Array(experts);
    for (let t = 0; t < tokens; t++) {
      draw.draw(picks, 0);
      for (const expert of picks) seen[expert]++;
    }
    const mean = (tokens * topK) / experts;
    const squares = seen.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
    // At most 1 per degree of freedom, ± 0.09 as they scatter; sets taken for one another give 1.8.
    expect(squares / (experts - 1)).toBeLessThan(1.3);
  });
});
