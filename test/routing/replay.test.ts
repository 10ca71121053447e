import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { tokenTraceSource, type ReplaySpec, type RoutingSource } from '../../src/routing/index.js';
import { traceOf } from './recording.js';

const spec = (change: Partial<ReplaySpec>): ReplaySpec => ({
  gpus: 2,
  tokensPerGpu: 2,
  steps: null,
  layers: [0],
  batching: 'shuffled',
  resample: false,
  padding: false,
  phase: null,
  calibrationShare: 0,
  seed: 1,
  ...change,
});

/** First expert of every copy pair tells the token apart while there are at most 8. */
function tokensByStep(source: RoutingSource): number[][] {
  const stream = source.start();
  const steps: number[][] = [];
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const { experts, count } = step.layers[0].tokens!;
    steps.push(Array.from({ length: count }, (_, i) => experts[2 * i]));
  }
  return steps;
}

describe('batchings by hand', () => {
  it('decode-lockstep: one token of each live sequence, the next sequence where one ends', () => {
    // Sequences 0–2, 3–4, 5–6 and 7: GPU 0 lives on the first and takes the last, GPU 1 the second and third.
    const source = tokenTraceSource(
      traceOf([3, 2, 2, 1]),
      spec({ tokensPerGpu: 1, batching: 'decode-lockstep' }),
    );
    expect(tokensByStep(source)).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
      [7, 6],
    ]);
  });

  it('prefill-chunks: whole sequences stay on their GPU, chunks run on across their ends', () => {
    // GPU 0 reads 0–2 and then 5–6, GPU 1 reads 3–4 and then 7.
    const source = tokenTraceSource(traceOf([3, 2, 2, 1]), spec({ batching: 'prefill-chunks' }));
    // The second step would need one token more for GPU 1.
    expect(tokensByStep(source)).toEqual([[0, 1, 3, 4]]);
  });

  it('shuffled: every token once, in an order that the seed decides', () => {
    const trace = traceOf([3, 2, 3]);
    const [one] = [tokensByStep(tokenTraceSource(trace, spec({})))];
    expect(one.flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(tokensByStep(tokenTraceSource(trace, spec({})))).toEqual(one);
    const others = [2, 3, 4].map((seed) => tokensByStep(tokenTraceSource(trace, spec({ seed }))));
    expect(others.some((other) => JSON.stringify(other) !== JSON.stringify(one))).toBe(true);
  });

  it('recorded: the file’s own steps and sources', () => {
    const trace = traceOf([8]);
    trace.header.gpus = 2;
    trace.batches = {
      starts: Int32Array.of(0, 4, 8),
      source: Uint16Array.of(1, 1, 0, 0, 0, 1, 1, 1),
      calibrationSteps: 0,
    };
    const source = tokenTraceSource(trace, spec({ tokensPerGpu: null, batching: 'recorded' }));
    const stream = source.start();
    expect([...stream.next()!.tokensBySource]).toEqual([2, 2]);
    const second = stream.next()!;
    expect([...second.tokensBySource]).toEqual([1, 3]);
    // Token 4 goes from GPU 0 to experts 4 and 5.
    expect([...second.layers[0].counts.subarray(0, 8)]).toEqual([0, 0, 0, 0, 1, 1, 0, 0]);
    expect(stream.next()).toBeNull();
  });
});

describe('padding and phases', () => {
  const prefill = 0;
  const decode = 1;

  it('padding is left out unless it is asked for, and the result says so', () => {
    const trace = traceOf([3, 2, 3]);
    trace.padding = Uint8Array.of(0, 1, 0, 0, 0, 1, 1, 1);
    const source = tokenTraceSource(trace, spec({ tokensPerGpu: 1 }));
    expect(tokensByStep(source).flat().sort()).toEqual([0, 2, 3, 4]);
    expect(source.notes[0]).toBe(
      "4 of 8 recorded tokens are left out: padding (padding: 'include' replays it)",
    );
    const all = tokenTraceSource(trace, spec({ tokensPerGpu: 1, padding: true }));
    expect(tokensByStep(all).flat().sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(all.notes).toEqual([]);
  });

  it('recorded steps lose their padding, and steps of nothing else', () => {
    const trace = traceOf([8]);
    trace.header.gpus = 2;
    trace.batches = {
      starts: Int32Array.of(0, 2, 4, 8),
      source: Uint16Array.of(0, 1, 0, 1, 0, 1, 1, 1),
      calibrationSteps: 0,
    };
    trace.padding = Uint8Array.of(0, 0, 1, 1, 0, 0, 0, 1);
    const source = tokenTraceSource(trace, spec({ tokensPerGpu: null, batching: 'recorded' }));
    expect(source.steps).toBe(2);
    const stream = source.start();
    expect([...stream.next()!.tokensBySource]).toEqual([1, 1]);
    expect([...stream.next()!.tokensBySource]).toEqual([1, 2]);
  });

  it('steps say which copies are padding, and of which phase they are: prefill, if any token is', () => {
    const trace = traceOf([8]);
    trace.header.gpus = 2;
    trace.batches = {
      starts: Int32Array.of(0, 2, 4, 8),
      source: Uint16Array.of(0, 1, 0, 1, 0, 1, 1, 1),
      calibrationSteps: 0,
    };
    trace.padding = Uint8Array.of(0, 0, 1, 0, 0, 1, 0, 1);
    trace.phase = Uint8Array.of(prefill, prefill, decode, decode, decode, prefill, decode, decode);
    const replayed = spec({ tokensPerGpu: null, batching: 'recorded', padding: true });
    const stream = tokenTraceSource(trace, replayed).start();
    const seen = [1, 2, 3].map(() => {
      const { phase, layers } = stream.next()!;
      return { phase, padding: [...layers[0].padding!] };
    });
    // Token t goes to experts t and t + 1.
    expect(seen.map(({ phase }) => phase)).toEqual(['prefill', 'decode', 'prefill']);
    expect(seen[0].padding).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect(seen[1].padding).toEqual([0, 0, 1, 1, 0, 0, 0, 0]);
    expect(seen[2].padding).toEqual([1, 0, 0, 0, 0, 1, 1, 1]);
    const without = tokenTraceSource(trace, { ...replayed, padding: false });
    expect(without.hasPadding).toBe(false);
    expect(without.start().next()!.layers[0].padding).toBeUndefined();
  });

  it('one phase of a mixed recording can be replayed alone', () => {
    const trace = traceOf([4, 4]);
    trace.phase = Uint8Array.of(prefill, prefill, decode, decode, prefill, decode, decode, decode);
    const source = tokenTraceSource(
      trace,
      spec({ tokensPerGpu: 1, batching: 'decode-lockstep', phase: 'decode' }),
    );
    expect(tokensByStep(source)).toEqual([
      [2, 5],
      [3, 6],
    ]);
    expect(source.notes[0]).toContain('3 of 8 recorded tokens are left out: not decode');
    const none = { ...trace, phase: new Uint8Array(8) };
    expect(() => tokenTraceSource(none, spec({ phase: 'decode' }))).toThrow(
      /found 8 tokens, all of them left/,
    );
  });
});

describe('token replay', () => {
  test.prop([
    fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 12 }),
    fc.constantFrom('shuffled' as const, 'prefill-chunks' as const, 'decode-lockstep' as const),
    fc.integer({ min: 1, max: 4 }),
    fc.boolean(),
  ])(
    'steps are full, counts agree with tokens, and without resampling no token comes twice',
    (lengths, batching, tokensPerGpu, resample) => {
      const trace = traceOf(lengths);
      let source: RoutingSource;
      try {
        source = tokenTraceSource(
          trace,
          spec({ batching, tokensPerGpu, resample, layers: [0, 1], steps: resample ? 20 : null }),
        );
      } catch (error) {
        expect((error as Error).message).toContain('enough for 0 such steps');
        return;
      }
      const stream = source.start();
      const uses = new Map<number, number>();
      let steps = 0;
      for (let step = stream.next(); step !== null; step = stream.next(), steps++) {
        expect(step.tokens).toBe(2 * tokensPerGpu);
        expect([...step.tokensBySource]).toEqual([tokensPerGpu, tokensPerGpu]);
        step.layers.forEach(({ counts, tokens }) => {
          const again = new Array<number>(16).fill(0);
          tokens!.experts.forEach((e, copy) => again[tokens!.source[copy >> 1] * 8 + e]++);
          expect([...counts]).toEqual(again);
        });
        step.layers[0].tokens!.experts.forEach((e) => uses.set(e, (uses.get(e) ?? 0) + 1));
      }
      expect(steps).toBe(source.steps);
      if (resample) return;
      const recorded = new Map<number, number>();
      for (let t = 0; t < trace.tokens; t++)
        for (const e of [t % 8, (t + 1) % 8]) recorded.set(e, (recorded.get(e) ?? 0) + 1);
      uses.forEach((count, e) => expect(count).toBeLessThanOrEqual(recorded.get(e)!));
    },
  );

  it('cuts the calibration off in whole sequences, and replays only what comes after', () => {
    const source = tokenTraceSource(traceOf([3, 3, 6]), spec({ calibrationShare: 0.3, tokensPerGpu: 1 }));
    const calibration = source.calibration(0.3);
    expect(calibration.tokens).toBe(6);
    expect(calibration.loads[0].reduce((sum, load) => sum + load, 0)).toBe(12);
    // Tokens 6 … 11 are left, which start with experts 6, 7, 0, 1, 2, 3.
    expect(tokensByStep(source).flat().sort()).toEqual([0, 1, 2, 3, 6, 7]);
  });

  it('replays a part in whole sequences: those that start in it', () => {
    const trace = traceOf([3, 3, 6]);
    const part = (from: number, to: number, calibrationShare = 0) =>
      tokensByStep(
        tokenTraceSource(trace, spec({ part: [from, to], calibrationShare, gpus: 1, tokensPerGpu: 1 })),
      ).flat();
    // Of twelve tokens, sequences start at 0, 3 and 6.
    expect(part(0.25, 0.5).sort()).toEqual([3, 4, 5]);
    expect(part(0.2, 0.3).sort()).toEqual([3, 4, 5]);
    expect(part(0, 1)).toHaveLength(12);
    // What is calibrated on is not replayed, whatever the part.
    expect(part(0, 0.5, 0.2).sort()).toEqual([3, 4, 5]);
    expect(() => part(0, 0.25, 0.5)).toThrow(
      'part: found [0,0.25], of which nothing is left after calibration',
    );
  });

  it('says how many steps the recording holds', () => {
    expect(() => tokenTraceSource(traceOf([3, 3, 6]), spec({ steps: 9 }))).toThrow(
      'found 9 steps of 4 tokens, but after calibration the recording holds 12 tokens in 3 sequences, enough for 3 ' +
        'such steps, allowed: at most 3 steps, or resample: true',
    );
    expect(() =>
      tokenTraceSource(traceOf([1, 1]), spec({ batching: 'decode-lockstep', tokensPerGpu: 4 })),
    ).toThrow('of 8 live sequences');
  });

  it('says how many tokens per GPU would do, and that is the most', () => {
    // 100 tokens in ten sequences for two GPUs: four steps of at most 12 each; past ten steps every live sequence needs a second one.
    for (const [batching, most] of [
      ['shuffled', 12],
      ['prefill-chunks', 12],
      ['decode-lockstep', 2],
    ] as const) {
      const trace = traceOf(new Array<number>(10).fill(10));
      const replay = (tokensPerGpu: number, steps: number | null) =>
        tokenTraceSource(trace, spec({ batching, tokensPerGpu, steps }));
      const steps = batching === 'decode-lockstep' ? 12 : 4;
      expect(() => replay(60, steps)).toThrow(`allowed: at most ${most} tokens per GPU, or resample: true`);
      expect(replay(most, steps).steps).toBe(steps);
      expect(() => replay(most + 1, steps)).toThrow(`or at most ${most} tokens per GPU`);
    }
  });

  it('notes how much a resampled run repeats', () => {
    const source = tokenTraceSource(traceOf([4, 4]), spec({ resample: true, steps: 6 }));
    expect(source.notes).toEqual([
      'resampled: 24 tokens replayed from 8 recorded ones (3.00 times), whole sequences drawn with replacement',
    ]);
  });

  it('replicates draw whole sequences with replacement', () => {
    const source = tokenTraceSource(
      traceOf([4, 4, 4]),
      spec({ tokensPerGpu: 1, batching: 'decode-lockstep', steps: 4 }),
    );
    const seen = new Set<string>();
    for (let replicate = 0; replicate < 30; replicate++) {
      const steps = tokensByStep(source.resample!(`r${replicate}`));
      expect(steps).toHaveLength(4);
      // Both live sequences start at one of the recorded starts: tokens 0, 4 and 8 (expert 0).
      steps[0].forEach((token) => expect([0, 4]).toContain(token));
      seen.add(JSON.stringify(steps));
    }
    expect(seen.size).toBeGreaterThan(1);
  });
});
