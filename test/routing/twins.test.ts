import { describe, expect, it } from 'vitest';
import { inspectTrace } from '../../src/inspection/index.js';
import {
  fitTwin,
  randomStream,
  rowsInMemory,
  twinSchema,
  twinTrace,
  type CountTrace,
  type TokenTrace,
  type Twin,
} from '../../src/routing/index.js';
import { decodePicks, encodePicks } from '../../src/routing/twin/twin.js';

const [experts, topK, layers] = [8, 2, 2];

/** Loads of a layer over the tokens of a trace, as shares of the tokens. */
function shares(trace: TokenTrace, layer: number): number[] {
  const perToken = trace.header.layerIds.length * trace.header.topK;
  const { experts: picks } = trace.rows.block(0);
  const loads = new Array<number>(trace.header.experts).fill(0);
  for (let token = 0; token < trace.tokens; token++) {
    for (let j = 0; j < topK; j++) loads[picks[token * perToken + layer * topK + j]] += 1 / trace.tokens;
  }
  return loads;
}

const twin: Twin = twinSchema.parse({
  schema: 'epsim/twin@1',
  model: 'test',
  experts,
  topK,
  layerIds: [3, 5],
  source: 'by hand',
  licence: '',
  notes: [],
  tokens: 1000,
  sequences: 2,
  popularity: [
    [0.9, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1],
    [0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25],
  ],
  memory: [
    [0, 0, 0, 0, 0],
    [0.6, 0, 0, 0, 0],
  ],
  run: 1,
  profiles: [{ tokens: 40, picks: encodePicks(new Float64Array(layers * experts).fill(0.25)) }],
});

describe('what a twin draws', () => {
  const trace = twinTrace(twin, { layers: [0, 1], tokens: 40_000, seed: 1 });

  it('has the popularity asked for, whatever the memory', () => {
    shares(trace, 0).forEach((share, e) => expect(share).toBeCloseTo(twin.popularity[0][e], 1.7));
    shares(trace, 1).forEach((share) => expect(share).toBeCloseTo(0.25, 1.5));
  });

  it('repeats the choices of the token before as often as the memory says', () => {
    const { experts: picks } = trace.rows.block(0);
    let [same, compared] = [0, 0];
    for (let token = 1; token < trace.tokens; token++) {
      if (token % 40 === 0) continue;
      const own = (t: number) => Array.from(picks.subarray(4 * t + 2, 4 * t + 4));
      same += own(token).filter((e) => own(token - 1).includes(e)).length;
      compared += topK;
    }
    // Of 0.6 it is certain, of the rest a quarter by chance.
    expect(same / compared).toBeCloseTo(0.6 + 0.4 * 0.25, 1.7);
  });

  it('never picks an expert twice in a token', () => {
    const { experts: picks } = trace.rows.block(0);
    for (let i = 0; i < picks.length; i += topK) expect(picks[i]).not.toBe(picks[i + 1]);
  });

  it('is the same for the same seed, and a layer does not depend on which others are drawn', () => {
    const alone = twinTrace(twin, { layers: [1], tokens: 40_000, seed: 1 });
    expect(alone.header.layerIds).toEqual([5]);
    expect(shares(alone, 0)).toEqual(shares(trace, 1));
    const other = twinTrace(twin, { layers: [1], tokens: 40_000, seed: 2 });
    expect(shares(other, 0)).not.toEqual(shares(alone, 0));
  });

  it.each([
    [{ popularity: [[1]] }, 'popularity: found another shape, allowed: 2 layers × 8 experts'],
    [{ memory: [[0.5, 0.5, 0, 0, 0], twin.memory[1]] }, 'memory[0]: found weights that sum to 1 or more'],
    [{ profiles: [{ tokens: 1, picks: 'AAAA' }] }, 'picks: found 3 probabilities, allowed: 16'],
    [{ profiles: [{ ...twin.profiles[0], domain: 2 }] }, 'profiles[0].domain: found 2'],
  ])('refuses %#', (change, message) => {
    expect(() => twinTrace({ ...twin, ...change }, { layers: [0], tokens: 10, seed: 1 })).toThrow(message);
  });

  it('refuses more than memory holds', () => {
    expect(() => twinTrace(twin, { layers: [0, 1], tokens: 1e9, seed: 1 })).toThrow(
      'fewer steps, or one layer',
    );
  });
});

it('probabilities as bytes: small ones to a few thousandths, 0 and 1 exactly', () => {
  const given = Float64Array.of(0, 0.001, 0.03, 0.5, 1);
  const back = decodePicks(encodePicks(given), 5);
  expect([back[0], back[4]]).toEqual([0, 1]);
  given.forEach((p, i) => expect(Math.abs(back[i] - p)).toBeLessThan(Math.sqrt(p) / 255 + 1e-4));
});

/** A recording from a known law: sequences of two kinds, an opening of three positions, some repetition. */
function recorded(sequences: number, repeat: number): TokenTrace {
  const random = randomStream(4, 'recorded');
  const length = 60;
  const tokens = sequences * length;
  const picks = new Uint8Array(tokens * topK);
  for (let s = 0; s < sequences; s++) {
    const half = random() < 0.5 ? 0 : 4;
    for (let t = 0; t < length; t++) {
      const at = (s * length + t) * topK;
      if (t < 3) picks.set([2 * t, 2 * t + 1], at);
      else if (t > 3 && random() < repeat) picks.copyWithin(at, at - topK, at);
      else {
        const first = half + Math.floor(4 * random());
        picks.set([first, half + ((first - half + 1 + Math.floor(3 * random())) % 4)], at);
      }
    }
  }
  return {
    kind: 'tokens',
    header: {
      schema: 'epsim/trace@1',
      kind: 'tokens',
      model: 'known',
      experts,
      topK,
      layerIds: [0],
      source: 'test',
      licence: 'none',
      notes: [],
    },
    tokens,
    rows: rowsInMemory(tokens, picks, null),
    sequenceStarts: Int32Array.from({ length: sequences + 1 }, (_, i) => i * length),
    sequenceDomains: null,
    batches: null,
    phase: null,
    padding: null,
  };
}

describe('what is fitted', () => {
  const trace = recorded(400, 0.5);
  const fitted = fitTwin(trace);

  it('the opening, and for how long sequences begin alike', () => {
    expect(fitted.opening).toHaveLength(3);
    expect([...decodePicks(fitted.opening[1], experts)]).toEqual([0, 0, 1, 1, 0, 0, 0, 0]);
  });

  it('the memory: half of the tokens repeat the one before', () => {
    expect(fitted.memory[0][0]).toBeCloseTo(0.5, 1);
    expect(fitted.memory[0].slice(1).reduce((sum, weight) => sum + weight, 0)).toBeLessThan(0.1);
  });

  it('profiles of two kinds, in no order', () => {
    const ofFirst = fitted.profiles.map(({ picks }) =>
      decodePicks(picks, experts)
        .slice(0, 4)
        .reduce((sum, p) => sum + p, 0),
    );
    for (const share of ofFirst) expect(Math.min(share, 2 - share)).toBeLessThan(0.15);
    expect(fitted.run).toBe(1);
    expect(fitted.profiles).toHaveLength(128);
  });

  it('a twin of the twin is the twin', () => {
    const again = fitTwin(twinTrace(fitted, { layers: [0], tokens: trace.tokens, seed: 1 }));
    expect(again.opening).toHaveLength(3);
    expect(again.memory[0][0]).toBeCloseTo(fitted.memory[0][0], 1);
    again.popularity[0].forEach((p, e) => expect(p).toBeCloseTo(fitted.popularity[0][e], 1));
  });

  it('has the recording’s statistics', () => {
    const options = { ep: [2], batchTokens: 512 };
    const [own, drawn] = [trace, twinTrace(fitted, { layers: [0], tokens: trace.tokens, seed: 3 })].map((t) =>
      inspectTrace(t, options),
    );
    expect(Math.abs(drawn.reuse!.share - own.reuse!.share)).toBeLessThan(0.03);
    for (const [i, batching] of own.batches.entries()) {
      expect(drawn.batches[i].batching).toBe(batching.batching);
      expect(Math.abs(drawn.batches[i].levels[1].median / batching.levels[1].median - 1)).toBeLessThan(0.1);
    }
  });

  it('sequences in runs are seen, and drawn in runs', () => {
    const { rows, ...rest } = recorded(100, 0);
    const picks = rows.block(0).experts.slice();
    // The first 50 sequences on the first half of the experts, the others on the second.
    picks.forEach((expert, i) => (picks[i] = (expert % 4) + (i < picks.length / 2 ? 0 : 4)));
    const { run } = fitTwin({ ...rest, rows: rowsInMemory(rest.tokens, picks, null) });
    expect(run).toBeGreaterThan(10);
  });

  it('positions beyond the opening at which sequences are alike, without changing the popularity', () => {
    const { rows, ...rest } = recorded(400, 0);
    const picks = rows.block(0).experts.slice();
    // A template of ten tokens that begins at position 20 or 21: at 21 to 29 half of the sequences pick the same.
    for (let s = 0; s < 400; s++) {
      for (let t = 0; t < 10; t++) picks.set([t % 2, 2 + (t % 2)], (s * 60 + 20 + (s % 2) + t) * topK);
    }
    const trace = { ...rest, rows: rowsInMemory(rest.tokens, picks, null) };
    const { opening, alike, popularity } = fitTwin(trace);
    expect(opening).toHaveLength(3);
    // Positions count from the end of the opening.
    expect(alike.map(({ position }) => position)).toEqual([17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27]);
    const drawn = twinTrace(fitTwin(trace), { layers: [0], tokens: 120_000, seed: 2 });
    const sharesAt = (given: TokenTrace, position: number) => {
      const { experts: all } = given.rows.block(0);
      const loads = new Array<number>(experts).fill(0);
      const count = given.tokens / 60;
      for (let s = 0; s < count; s++) {
        for (let j = 0; j < topK; j++) loads[all[(s * 60 + position) * topK + j]] += 1 / count;
      }
      return loads;
    };
    for (const position of [20, 24, 30]) {
      const [own, twin] = [trace, drawn].map((given) => sharesAt(given, position));
      own.forEach((share, e) => expect(Math.abs(twin[e] - share)).toBeLessThan(0.15));
    }
    const after = [...drawn.rows.block(0).experts].filter((_, i) => Math.floor(i / topK) % 60 >= 3);
    popularity[0].forEach((p, e) => {
      const share = after.filter((expert) => expert === e).length / (after.length / topK);
      expect(Math.abs(share - p)).toBeLessThan(0.02);
    });
  });

  it('counts: popularity by step, and that tokens in a row are not known', () => {
    const steps = Array.from({ length: 4 }, (_, i) => ({
      calibration: false,
      layers: [Int32Array.from({ length: experts }, (_, e) => (e === i ? 900 : 100))],
    }));
    const counts: CountTrace = {
      kind: 'counts',
      header: { ...trace.header, kind: 'counts', steps: 4 },
      steps,
    };
    const { profiles, memory, popularity, notes, sequences } = fitTwin(counts);
    expect(profiles.map(({ tokens }) => tokens)).toEqual([800, 800, 800, 800]);
    expect(popularity[0].map((p) => p.toFixed(3))).toEqual([
      ...new Array<string>(4).fill('0.375'),
      ...new Array<string>(4).fill('0.125'),
    ]);
    expect(memory).toEqual([[0, 0, 0, 0, 0]]);
    expect(sequences).toBe(0);
    expect(notes.join()).toContain('fitted to counts');
  });
});
