import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { powerLawLoads } from '../../src/routing/generators/power-law.js';
import { generators, generatorSource, randomStream, type GeneratorOptions } from '../../src/routing/index.js';

function parse(options: object): GeneratorOptions {
  const { kind } = options as { kind: string };
  return generators.find((generator) => generator.kind === kind)!.options.parse(options);
}

function source(options: object, change: object = {}, steps = 2, seed: number | string = 1) {
  const setting = {
    gpus: 4,
    experts: 16,
    topK: 4,
    routerGroups: 1,
    topGroups: 1,
    tokensPerGpu: 60,
    ...change,
  };
  return generatorSource({ options: parse(options), setting, layerIds: [0, 1], steps, seed });
}

function stepsOf(generated: ReturnType<typeof source>) {
  const stream = generated.start();
  const steps = [];
  for (let step = stream.next(); step !== null; step = stream.next()) {
    steps.push(
      step.layers.map(({ counts, tokens }) => ({
        counts: [...counts],
        tokens: tokens && structuredClone(tokens),
      })),
    );
  }
  return steps;
}

const everyKind: { kind: string; name?: string; pattern?: string; [option: string]: unknown }[] = [
  { kind: 'balanced' },
  { kind: 'hot-experts', share: 0.6, experts: 3 },
  { kind: 'hot-experts', share: 0.6, experts: 3, pattern: 'distinct' },
  { kind: 'zipf', exponent: 1.2 },
  { kind: 'log-normal', sigma: 1 },
  { kind: 'power-law', exponent: 1.01 },
  { kind: 'dirichlet', concentration: 0.3 },
  { kind: 'domains', domains: 3, period: 1, change: 'gradual' },
  { kind: 'workload', name: 'W0' },
  { kind: 'workload', name: 'W2' },
  { kind: 'workload', name: 'W7', period: 2 },
];

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);

describe.each(everyKind)('generator %o', (options) => {
  const isLlep = options.kind === 'hot-experts' && options.pattern === undefined;

  it('gives every source GPU all its copies', () => {
    for (const layers of stepsOf(source(options))) {
      for (const { counts } of layers) {
        for (let gpu = 0; gpu < 4; gpu++) {
          const row = counts.slice(gpu * 16, (gpu + 1) * 16);
          expect(sum(row)).toBe(60 * 4);
          if (!isLlep) row.forEach((count) => expect(count).toBeLessThanOrEqual(60));
        }
      }
    }
  });

  it('draws the same again, and other things for another seed', () => {
    expect(stepsOf(source(options))).toEqual(stepsOf(source(options)));
    const fixed = options.kind === 'balanced' || options.name === 'W0' || isLlep;
    if (!fixed) expect(stepsOf(source(options))).not.toEqual(stepsOf(source(options, {}, 2, 2)));
  });

  it('has token tables that agree with its counts and never repeat an expert', () => {
    for (const layers of stepsOf(source({ ...options, gateWeights: true }))) {
      for (const { counts, tokens } of layers) {
        const again = new Array<number>(64).fill(0);
        for (let token = 0; token < tokens!.count; token++) {
          const picks = tokens!.experts.slice(token * 4, token * 4 + 4);
          if (!isLlep) expect(new Set(picks).size).toBe(4);
          picks.forEach((e) => again[tokens!.source[token] * 16 + e]++);
          const weights = tokens!.weights!.slice(token * 4, token * 4 + 4);
          expect(sum(weights)).toBeCloseTo(1, 5);
          expect([...weights].sort((a, b) => b - a)).toEqual([...weights]);
        }
        expect(again).toEqual(counts);
      }
    }
  });

  it('draws a (step, layer) alike whatever is drawn around it', () => {
    const two = stepsOf(source(options));
    const setting = { gpus: 4, experts: 16, topK: 4, routerGroups: 1, topGroups: 1, tokensPerGpu: 60 };
    const alone = generatorSource({ options: parse(options), setting, layerIds: [1], steps: 2, seed: 1 });
    expect(stepsOf(alone).map(([layer]) => layer)).toEqual(two.map(([, layer]) => layer));
  });
});

describe('generators', () => {
  it('balanced gives every expert the same, for small batches too', () => {
    for (const tokensPerGpu of [4, 8, 60]) {
      const [[{ counts }]] = stepsOf(source({ kind: 'balanced' }, { tokensPerGpu }));
      const loads = Array.from({ length: 16 }, (_, e) => sum(counts.filter((__, i) => i % 16 === e)));
      expect(new Set(loads)).toEqual(new Set([tokensPerGpu]));
    }
  });

  it('counts have the mean loads of tokens where router groups limit a token', () => {
    const change = { experts: 8, topK: 2, routerGroups: 4, topGroups: 1, tokensPerGpu: 500 };
    const options = { kind: 'zipf', exponent: 1, permute: false, redraw: 'run' };
    const meanLoads = (tokens: boolean) => {
      const steps = stepsOf(source({ ...options, tokens }, change, 40));
      const all = steps.flatMap((layers) => layers.flatMap(({ counts }) => counts));
      return Array.from({ length: 8 }, (_, e) => sum(all.filter((__, i) => i % 8 === e)) / steps.length);
    };
    const [counted, drawn] = [meanLoads(false), meanLoads(true)];
    // A token's two experts are one group's: both experts of a group get the same load.
    for (let group = 0; group < 4; group++) expect(drawn[2 * group]).toBe(drawn[2 * group + 1]);
    counted.forEach((load, e) => expect(Math.abs(load / drawn[e] - 1)).toBeLessThan(0.02));
  });

  it('redraw: run keeps popularity, redraw: step moves it', () => {
    const hottest = (redraw: string) =>
      stepsOf(source({ kind: 'zipf', exponent: 2, redraw }, {}, 12)).map(([{ counts }]) => {
        const loads = Array.from({ length: 16 }, (_, e) => sum(counts.filter((__, i) => i % 16 === e)));
        return loads.indexOf(Math.max(...loads));
      });
    expect(new Set(hottest('run')).size).toBeLessThanOrEqual(3);
    expect(new Set(hottest('step')).size).toBeGreaterThan(3);
  });

  it('perLayer: false gives all layers one popularity', () => {
    const share = ([a, b]: { counts: number[] }[]) => {
      const load = (counts: number[]) =>
        Array.from({ length: 16 }, (_, e) => sum(counts.filter((__, i) => i % 16 === e)));
      const [x, y] = [load(a.counts), load(b.counts)];
      return x.indexOf(Math.max(...x)) === y.indexOf(Math.max(...y));
    };
    const same = stepsOf(source({ kind: 'zipf', exponent: 3, perLayer: false }, { topK: 1 }, 20)).filter(
      share,
    ).length;
    expect(same).toBeGreaterThan(15);
  });

  it('permute: false makes the first ids the popular ones', () => {
    for (const kind of [
      { kind: 'zipf', exponent: 1.5 },
      { kind: 'log-normal', sigma: 2 },
    ]) {
      const [[{ counts }]] = stepsOf(source({ ...kind, permute: false }, { tokensPerGpu: 4000 }));
      const gpu = (g: number) => sum(counts.filter((_, i) => Math.floor((i % 16) / 4) === g));
      expect(gpu(0)).toBeGreaterThan(gpu(1));
      expect(gpu(1)).toBeGreaterThan(gpu(3));
    }
  });

  it('hot-experts, distinct: caps the share at experts/topK and says so', () => {
    const capped = source({
      kind: 'hot-experts',
      share: 0.95,
      experts: 1,
      pattern: 'distinct',
      permute: false,
    });
    expect(capped.notes[0]).toContain('capped at experts/topK = 0.25');
    const [[{ counts }]] = stepsOf(capped);
    expect(counts[0]).toBe(60);
  });

  it('hot-experts refuses as many hot experts as there are', () => {
    expect(() => source({ kind: 'hot-experts', share: 0.5, experts: 16 })).toThrow('found 16 hot experts');
  });
});

describe('the LLEP paper’s generator (llep.md §5)', () => {
  it.each([
    [1, 0.3],
    [1, 0.95],
    [4, 0.5],
    [16, 0.8],
  ])('%i hot experts with %d: GPU 0 gets p + (1 − p)(M − k)/(N − k)', (hot, share) => {
    const gpt = { gpus: 8, experts: 128, topK: 4, tokensPerGpu: 32768 };
    const [[{ counts }]] = stepsOf(source({ kind: 'hot-experts', share, experts: hot }, gpt, 1));
    const onGpu0 = sum(counts.filter((_, i) => i % 128 < 16)) / (8 * 32768 * 4);
    expect(onGpu0).toBeCloseTo(share + ((1 - share) * (16 - hot)) / (128 - hot), 3);
    // With more hot experts than choices only topK of them are used, evenly.
    const used = Math.min(hot, 4);
    const loads = Array.from({ length: hot }, (_, e) => sum(counts.filter((__, i) => i % 128 === e)));
    expect(loads.filter((load) => load > 0)).toEqual(
      new Array(used).fill((8 * Math.floor(32768 * share) * 4) / used),
    );
  });
});

describe('power-law loads (ai-dynamo/aiconfigurator @ 095f58a, collector/helper.py)', () => {
  test.prop([
    fc.integer({ min: 1, max: 400 }),
    fc.constantFrom([16, 4], [32, 8], [256, 8]),
    fc.constantFrom(0.6, 1, 1.01, 1.2),
    fc.nat(),
  ])('sum to tokens · topK, none above the tokens', (tokens, [experts, topK], exponent, seed) => {
    const loads = powerLawLoads({ tokens, experts, topK, gpus: 4, exponent }, randomStream(seed, 'loads'));
    expect(sum(loads)).toBe(tokens * topK);
    loads.forEach((load) => {
      expect(load).toBeGreaterThanOrEqual(0);
      expect(load).toBeLessThanOrEqual(tokens);
    });
  });

  // Expected busiest GPU over mean, E = 256, k = 8 (measured-data.md §1.1).
  it.each([
    [1024, 1.01, 4, 1.22],
    [1024, 1.01, 8, 1.43],
    [1024, 1.01, 32, 2.4],
    [1024, 1.01, 64, 3.17],
    [16384, 1.2, 4, 1.41],
    [16384, 1.2, 8, 1.77],
    [16384, 1.2, 32, 3.93],
    [16384, 1.2, 64, 6.39],
  ])(
    '%i tokens, exponent %d, %i GPUs: the busiest gets %d times the mean',
    (tokens, exponent, gpus, expected) => {
      const draws = 300;
      let mean = 0;
      for (let draw = 0; draw < draws; draw++) {
        const loads = powerLawLoads(
          { tokens, experts: 256, topK: 8, gpus, exponent },
          randomStream(draw, 'draw'),
        );
        const byGpu = Array.from({ length: gpus }, (_, gpu) =>
          sum(loads.slice((gpu * 256) / gpus, ((gpu + 1) * 256) / gpus)),
        );
        mean += Math.max(...byGpu) / ((tokens * 8) / gpus) / draws;
      }
      expect(Math.abs(mean / expected - 1)).toBeLessThan(0.08);
    },
  );
});

describe('workloads W0 to W7', () => {
  /** Shares of the copies by expert and by GPU (4 contiguous groups), step by step in layer 0. */
  function shares(options: object, steps: number, change: object = {}) {
    const setting = { tokensPerGpu: 4000, topK: 1, ...change };
    return stepsOf(source({ kind: 'workload', ...options }, setting, steps)).map(([{ counts }]) => {
      const total = sum(counts);
      const experts = Array.from(
        { length: 16 },
        (_, e) => sum([0, 1, 2, 3].map((gpu) => counts[gpu * 16 + e])) / total,
      );
      return { experts, gpus: [0, 4, 8, 12].map((first) => sum(experts.slice(first, first + 4))) };
    });
  }
  const hottest = (values: number[]) => values.indexOf(Math.max(...values));

  it('W0 is even', () => {
    for (const { experts } of shares({ name: 'W0' }, 2))
      for (const share of experts) expect(share).toBe(1 / 16);
  });

  it('W1: one expert has half of the copies, the same one in every step', () => {
    const steps = shares({ name: 'W1' }, 5);
    for (const { experts } of steps) expect(Math.max(...experts)).toBeCloseTo(0.5, 1);
    expect(new Set(steps.map(({ experts }) => hottest(experts))).size).toBe(1);
  });

  it('W1: no token picks an expert twice, which caps the share and is said', () => {
    const generated = source({ kind: 'workload', name: 'W1', tokens: true }, { topK: 4 });
    expect(generated.notes[0]).toContain('share capped at 1 hot / top 4 = 0.25');
    const [[{ tokens, counts }]] = stepsOf(generated);
    for (let t = 0; t < tokens!.count; t++) {
      expect(new Set(tokens!.experts.subarray(4 * t, 4 * t + 4)).size).toBe(4);
    }
    const byExpert = Array.from({ length: 16 }, (_, e) =>
      sum([0, 1, 2, 3].map((gpu) => counts[gpu * 16 + e])),
    );
    expect(Math.max(...byExpert)).toBe(240);
  });

  it('W2: all experts of one GPU have half together, and evenly', () => {
    const [{ experts, gpus }] = shares({ name: 'W2' }, 1);
    expect(Math.max(...gpus)).toBeCloseTo(0.5, 1);
    const first = 4 * hottest(gpus);
    for (const share of experts.slice(first, first + 4)) expect(share).toBeCloseTo(0.125, 1);
  });

  it('W3: an eighth of the experts have half', () => {
    const [{ experts }] = shares({ name: 'W3' }, 1);
    const falling = [...experts].sort((a, b) => b - a);
    expect(falling[0] + falling[1]).toBeCloseTo(0.5, 1);
    expect(falling[1]).toBeGreaterThan(4 * falling[2]);
  });

  it('W4: source GPUs fall from 2 to 1, with the mean that was asked for', () => {
    const generated = source({ kind: 'workload', name: 'W4', tokens: true });
    const [[{ counts, tokens }]] = stepsOf(generated);
    const bySource = [0, 1, 2, 3].map((gpu) => sum(counts.slice(16 * gpu, 16 * gpu + 16)) / 4);
    // 60 tokens each on average: 80, 66.7, 53.3, 40.
    expect(bySource).toEqual([80, 67, 53, 40]);
    expect([...generated.start().next()!.tokensBySource]).toEqual(bySource);
    expect([...tokens!.source].filter((gpu) => gpu === 3)).toHaveLength(40);
    expect(generated.tokensPerGpu).toBe(60);
  });

  it('W5: one source GPU has no tokens, the others have theirs', () => {
    const stream = source({ kind: 'workload', name: 'W5' }).start();
    const { tokensBySource, tokens, layers } = stream.next()!;
    expect([...tokensBySource]).toEqual([60, 60, 60, 0]);
    expect(tokens).toBe(180);
    expect(sum(layers[0].counts)).toBe(180 * 4);
    expect(sum(layers[0].counts.slice(48))).toBe(0);
  });

  it('W6: the hot expert moves every four steps, and never to itself', () => {
    const places = shares({ name: 'W6' }, 16).map(({ experts }) => hottest(experts));
    for (let step = 1; step < 16; step++) {
      if (step % 4 === 0) expect(places[step]).not.toBe(places[step - 1]);
      else expect(places[step]).toBe(places[step - 1]);
    }
  });

  it('W7: 80 % on as many experts as a token takes, in every eighth step alone', () => {
    const steps = shares({ name: 'W7' }, 17, { topK: 2 });
    steps.forEach(({ experts }, step) => {
      const falling = [...experts].sort((a, b) => b - a);
      if (step % 8 === 7) expect(falling[0] + falling[1]).toBeCloseTo(0.8, 1);
      else expect(falling[0]).toBeLessThan(0.09);
    });
  });

  it('W6 and W7 say it where a run is too short for a move or a burst', () => {
    const notes = (name: string, steps: number) => source({ kind: 'workload', name }, {}, steps).notes.join();
    expect(notes('W6', 4)).toContain('every 4 steps: in a run of 4 it never does');
    expect(notes('W6', 5)).not.toContain('never');
    expect(notes('W7', 7)).toContain('every 8th step is a burst: a run of 7 has none');
    expect(notes('W7', 8)).not.toContain('burst');
  });

  it.each([
    [{ name: 'W0', share: 0.5 }, 'share: found 0.5 for W0, allowed: no parameter'],
    [{ name: 'W2', period: 3 }, 'period: found 3 for W2, allowed: share'],
    [{ name: 'W1', experts: 16 }, "experts: found 16 hot experts, allowed: fewer than the model's 16"],
  ])('refuses %o', (options, message) => {
    expect(() => source({ kind: 'workload', ...options })).toThrow(message);
  });

  it('W5 needs a second GPU', () => {
    expect(() => source({ kind: 'workload', name: 'W5' }, { gpus: 1 })).toThrow('name: found W5 on one GPU');
  });
});

describe('domains that follow each other', () => {
  const loads = (options: object, steps: number) =>
    stepsOf(source({ kind: 'domains', sigma: 1.5, ...options }, { tokensPerGpu: 4000, topK: 1 }, steps)).map(
      ([{ counts }]) =>
        Array.from({ length: 16 }, (_, e) => sum([0, 1, 2, 3].map((gpu) => counts[gpu * 16 + e]))),
    );
  const distance = (a: number[], b: number[]) => sum(a.map((load, e) => Math.abs(load - b[e]))) / 2 / sum(a);

  it('abrupt: steady within a domain, other experts in the next, the same again when it comes again', () => {
    const steps = loads({ domains: 2, period: 3 }, 9);
    expect(distance(steps[0], steps[2])).toBeLessThan(0.03);
    expect(distance(steps[2], steps[3])).toBeGreaterThan(0.2);
    expect(distance(steps[0], steps[6])).toBeLessThan(0.03);
  });

  it('gradual: half way between two domains in the middle of the first', () => {
    const [first, , middle, , next] = loads({ domains: 2, period: 4, change: 'gradual' }, 5);
    expect(distance(first, middle)).toBeLessThan(0.7 * distance(first, next));
    expect(distance(first, middle)).toBeGreaterThan(0.3 * distance(first, next));
  });

  it('what domains share stays: with all of it there is no drift', () => {
    const [a, b] = loads({ domains: 2, period: 1, shared: 1 }, 2);
    expect(distance(a, b)).toBeLessThan(0.03);
  });
});
