import { describe, expect, it } from 'vitest';
import {
  generators,
  generatorSource,
  KeptDraws,
  type GeneratorSpec,
  type RoutingSource,
} from '../../src/routing/index.js';

function spec(change: Partial<GeneratorSpec> = {}, options: object = {}): GeneratorSpec {
  const logNormal = generators.find(({ kind }) => kind === 'log-normal')!;
  return {
    options: logNormal.options.parse({ kind: 'log-normal', sigma: 1, ...options }),
    setting: { gpus: 4, experts: 16, topK: 2, routerGroups: 1, topGroups: 1, tokensPerGpu: 50 },
    layerIds: [0, 1],
    steps: 3,
    seed: 1,
    ...change,
  };
}

function stepsOf(source: RoutingSource) {
  const stream = source.start();
  const steps = [];
  for (let step = stream.next(); step !== null; step = stream.next()) steps.push(structuredClone(step));
  return steps;
}

/** 3 steps × 2 layers × 4 GPUs × 16 experts × 4 bytes. */
const BYTES = 1536;

describe('kept draws', () => {
  it.each([{}, { tokens: true }, { tokens: true, gateWeights: true }])(
    'are what a generator draws, at first and again (%j)',
    (options) => {
      const draws = new KeptDraws(1e6);
      const drawn = stepsOf(generatorSource(spec({}, options)));
      expect(stepsOf(draws.source(spec({}, options)))).toEqual(drawn);
      expect(stepsOf(draws.source(spec({}, options)))).toEqual(drawn);
      expect(draws.source(spec({}, options)).calibration(0.1).loads).toEqual(
        generatorSource(spec({}, options)).calibration(0.1).loads,
      );
    },
  );

  it('are whole where a stream was left half-way', () => {
    const source = new KeptDraws(1e6).source(spec());
    source.start().next();
    expect(stepsOf(source)).toEqual(stepsOf(generatorSource(spec())));
  });

  it('are told apart by all that they depend on', () => {
    const draws = new KeptDraws(1e6);
    const first = draws.source(spec());
    expect(draws.source(spec())).toBe(first);
    const others = [spec({ seed: '1' }), spec({ steps: 2 }), spec({ layerIds: [1] }), spec({}, { sigma: 2 })];
    for (const other of others) expect(draws.source(other)).not.toBe(first);
  });

  it('are given up, those used longest ago first, before they take more than their bytes', () => {
    const draws = new KeptDraws(2 * BYTES);
    const [first, second] = [draws.source(spec({ seed: 1 })), draws.source(spec({ seed: 2 }))];
    expect(draws.source(spec({ seed: 1 }))).toBe(first);
    draws.source(spec({ seed: 3 }));
    expect(draws.source(spec({ seed: 1 }))).toBe(first);
    expect(draws.source(spec({ seed: 2 }))).not.toBe(second);
  });

  it('are not kept where one source alone takes more', () => {
    const draws = new KeptDraws(BYTES - 1);
    expect(draws.source(spec())).not.toBe(draws.source(spec()));
  });
});
