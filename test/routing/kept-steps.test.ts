import { describe, expect, it } from 'vitest';
import {
  generators,
  generatorSource,
  KeptSteps,
  tokenTraceSource,
  type GeneratorSpec,
  type ReplaySpec,
  type RoutingSource,
  type TokenTrace,
} from '../../src/routing/index.js';
import { traceOf } from './recording.js';

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

const recording = () => traceOf([10, 10, 10, 10]);

const replay: ReplaySpec = {
  gpus: 2,
  tokensPerGpu: 2,
  steps: 3,
  layers: [0, 1],
  batching: 'shuffled',
  resample: false,
  padding: false,
  phase: null,
  calibrationShare: 0.25,
  seed: 1,
};

function stepsOf(source: RoutingSource) {
  const stream = source.start();
  const steps = [];
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const copy = structuredClone(step);
    for (const { tokens } of copy.layers) delete tokens?.lasting;
    steps.push(copy);
  }
  return steps;
}

/** 3 steps × 2 layers × 4 GPUs × 16 experts × 4 bytes. */
const BYTES = 1536;

describe('kept steps', () => {
  it.each([{}, { tokens: true }, { tokens: true, gateWeights: true }])(
    'are what a generator draws, at first and again (%j)',
    (options) => {
      const kept = new KeptSteps(1e6);
      const drawn = stepsOf(generatorSource(spec({}, options)));
      expect(stepsOf(kept.generated(spec({}, options)))).toEqual(drawn);
      expect(stepsOf(kept.generated(spec({}, options)))).toEqual(drawn);
      expect(kept.generated(spec({}, options)).calibration(0.1).loads).toEqual(
        generatorSource(spec({}, options)).calibration(0.1).loads,
      );
    },
  );

  it('are what a recording holds, at first and again', () => {
    const trace = recording();
    const kept = new KeptSteps(1e6);
    const replayed = stepsOf(tokenTraceSource(trace, replay));
    expect(stepsOf(kept.replayed(trace, replay))).toEqual(replayed);
    expect(stepsOf(kept.replayed(trace, replay))).toEqual(replayed);
    for (const share of [0.25, 0.5, 0.25]) {
      const { loads, tokens } = kept.replayed(trace, replay).calibration(share);
      const fresh = tokenTraceSource(trace, replay).calibration(share);
      expect({ loads, tokens }).toEqual({ loads: fresh.loads, tokens: fresh.tokens });
    }
  });

  it('say that their tables last, which those of a stream do not', () => {
    const own = spec({}, { tokens: true });
    const [kept, drawn] = [new KeptSteps(1e6).generated(own), generatorSource(own)];
    const lasting = (source: RoutingSource) =>
      source
        .start()
        .next()!
        .layers.map(({ tokens }) => tokens?.lasting);
    expect(lasting(kept)).toEqual([true, true]);
    expect(lasting(drawn)).toEqual([undefined, undefined]);
  });

  it('are told apart by the recording and how it is replayed', () => {
    const kept = new KeptSteps(1e6);
    const trace = recording();
    const first = kept.replayed(trace, replay);
    expect(kept.replayed(trace, { ...replay })).toBe(first);
    expect(kept.replayed(recording(), replay)).not.toBe(first);
    expect(kept.replayed(trace, { ...replay, gpus: 1 })).not.toBe(first);
  });

  it('are whole where a stream was left half-way', () => {
    const source = new KeptSteps(1e6).generated(spec());
    source.start().next();
    expect(stepsOf(source)).toEqual(stepsOf(generatorSource(spec())));
  });

  it('are told apart by all that they depend on', () => {
    const kept = new KeptSteps(1e6);
    const first = kept.generated(spec());
    expect(kept.generated(spec())).toBe(first);
    const others = [spec({ seed: '1' }), spec({ steps: 2 }), spec({ layerIds: [1] }), spec({}, { sigma: 2 })];
    for (const other of others) expect(kept.generated(other)).not.toBe(first);
  });

  it('are given up, those used longest ago first, before they take more than their bytes', () => {
    const kept = new KeptSteps(2 * BYTES);
    const [first, second] = [kept.generated(spec({ seed: 1 })), kept.generated(spec({ seed: 2 }))];
    expect(kept.generated(spec({ seed: 1 }))).toBe(first);
    kept.generated(spec({ seed: 3 }));
    expect(kept.generated(spec({ seed: 1 }))).toBe(first);
    expect(kept.generated(spec({ seed: 2 }))).not.toBe(second);
  });

  /** 40 tokens in steps of 4 and then 36, as they were recorded. */
  const uneven = (): [TokenTrace, ReplaySpec] => {
    const batches = { starts: Int32Array.of(0, 4, 40), source: new Uint16Array(40), calibrationSteps: 0 };
    const trace = { ...recording(), batches };
    trace.header = { ...trace.header, gpus: 2 };
    return [trace, { ...replay, batching: 'recorded', tokensPerGpu: null, steps: null, calibrationShare: 0 }];
  };

  it('are counted as they are, where steps of a recording differ in size', () => {
    const [trace, as] = uneven();
    // 40 tokens of 2 layers: 2 choices and a source of 2 bytes each, and 4 bytes per choice for an order of them;
    // counts of 8 experts on 2 GPUs in 2 steps.
    const bytes = 40 * 2 * 14 + 2 * 2 * 2 * 8 * 4;
    const fits = new KeptSteps(bytes);
    const tight = new KeptSteps(bytes - 1);
    for (const kept of [fits, tight]) {
      const replayed = stepsOf(kept.replayed(trace, as));
      expect(replayed).toEqual(stepsOf(tokenTraceSource(trace, as)));
      expect(stepsOf(kept.replayed(trace, as))).toEqual(replayed);
    }
    expect(fits.replayed(trace, as)).toBe(fits.replayed(trace, as));
    const first = tight.replayed(trace, as);
    stepsOf(first);
    expect(tight.replayed(trace, as)).not.toBe(first);
  });

  it('leave room for their calibrations, or make these anew', () => {
    const trace = recording();
    // Three steps of 4 tokens, and a calibration of 10 tokens, in two layers each.
    const steps = 3 * (4 * 2 * 14 + 2 * 2 * 8 * 4);
    const calibration = 10 * 2 * 14 + 2 * 2 * 8 * 4;
    for (const [most, isKept] of [
      [steps + calibration, true],
      [steps + calibration - 1, false],
    ] as const) {
      const kept = new KeptSteps(most);
      const source = kept.replayed(trace, replay);
      const replayed = stepsOf(source);
      const { loads } = source.calibration(0.25);
      expect(loads).toEqual(tokenTraceSource(trace, replay).calibration(0.25).loads);
      expect(kept.replayed(trace, replay) === source).toBe(isKept);
      expect(stepsOf(source)).toEqual(replayed);
    }
  });

  it('are not kept where one source alone takes more', () => {
    const kept = new KeptSteps(BYTES - 1);
    expect(kept.generated(spec())).not.toBe(kept.generated(spec()));
  });
});
