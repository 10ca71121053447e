import { describe, expect, it } from 'vitest';
import { generators, generatorSource } from '../../src/routing/index.js';

const LAYERS = 32;

function source(options: object = {}, steps = 256, experts = 8) {
  const generator = generators.find(({ kind }) => kind === 'decode-reuse')!;
  return generatorSource({
    options: generator.options.parse({ kind: 'decode-reuse', ...options }),
    setting: { gpus: 1, experts, topK: 2, routerGroups: 1, topGroups: 1, tokensPerGpu: 1 },
    layerIds: Array.from({ length: LAYERS }, (_, layer) => layer),
    steps,
    seed: 1,
  });
}

/** Shares, over consecutive tokens of a sequence, in which the first choice, and either of two, is chosen again. */
function reuse(options: object): { first: number; either: number } {
  const stream = source(options).start();
  let before: number[][] = [];
  let [first, either, pairs] = [0, 0, 0];
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const now = step.layers.map(({ tokens }) => [...tokens!.experts]);
    if (step.step % 128 !== 0) {
      now.forEach((chosen, layer) => {
        pairs++;
        if (chosen.includes(before[layer][0])) first++;
        if (before[layer].some((expert) => chosen.includes(expert))) either++;
      });
    }
    before = now;
  }
  return { first: first / pairs, either: either / pairs };
}

describe('decode-reuse', () => {
  it('chooses again as Mixtral does: above chance, which is 1/4 for the first choice and 0.464 for either', () => {
    const { first, either } = reuse({});
    expect(first).toBeGreaterThan(0.4);
    expect(either).toBeGreaterThan(0.65);
    const chance = reuse({ preference: 0, correlation: 0 });
    expect(chance.first).toBeCloseTo(1 / 4, 1);
    expect(chance.either).toBeCloseTo(1 - 15 / 28, 1);
  });

  it('gives gates that fall over the choices and sum to 1', () => {
    const { layers } = source().start().next()!;
    for (const { tokens } of layers) {
      const [high, low] = tokens!.weights!;
      expect(high).toBeGreaterThanOrEqual(low);
      expect(high + low).toBeCloseTo(1, 6);
    }
  });

  it('prefers other experts in the next sequence, and keeps its preferences within one', () => {
    const stream = source({ preference: 20, sequenceTokens: 4 }, 8).start();
    const steps = Array.from({ length: 8 }, () =>
      stream.next()!.layers.map(({ tokens }) => [...tokens!.experts].join()),
    );
    const same = (a: string[], b: string[]) => a.filter((chosen, layer) => chosen === b[layer]).length;
    expect(same(steps[0], steps[3])).toBeGreaterThan(0.7 * LAYERS);
    expect(same(steps[3], steps[4])).toBeLessThan(0.3 * LAYERS);
    expect(source({ sequenceTokens: 4 }).sequenceSteps).toBe(4);
  });

  it('gives every stream the same steps, however streams take turns', () => {
    const generated = source();
    const streams = [generated.start(), generated.start()];
    const chosen = (i: number) => generatedStep(streams[i].next()!);
    const generatedStep = (step: NonNullable<ReturnType<(typeof streams)[0]['next']>>) =>
      step.layers.map(({ tokens }) => [...tokens!.experts]);
    const ahead = [chosen(0), chosen(0), chosen(0)];
    expect([chosen(1), chosen(1), chosen(1)]).toEqual(ahead);
  });

  it('refuses a router that limits tokens to groups', () => {
    const generator = generators.find(({ kind }) => kind === 'decode-reuse')!;
    const setting = { gpus: 1, experts: 8, topK: 2, routerGroups: 4, topGroups: 2, tokensPerGpu: 1 };
    expect(() =>
      generator.prepare(generator.options.parse({ kind: 'decode-reuse' }) as never, setting),
    ).toThrow('groups');
  });
});
