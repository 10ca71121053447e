/**
 * A scenario small enough to work out on paper.
 *
 * Two GPUs with one expert each; on both, 6 of 10 tokens go to expert 0 and 4 to expert 1: loads 12 and 8.
 * A row takes 10 ms of product and 1 ms of activation traffic, an active expert 10 ms of weights and 1 ms of
 * its own, a launch 100 ms; a copy takes 1 ms on a link each way. An expert has 15,000 weights: 30,000 bytes.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { run, type PolicyResult, type Result, type ScenarioInput } from '../../src/index.js';

const file = fileURLToPath(new URL('hand-scenario.json', import.meta.url));
let result: Result;
const of = (kind: string): PolicyResult => result.policies.find(({ policy }) => policy.kind === kind)!;

beforeAll(async () => {
  result = await run(JSON.parse(readFileSync(file, 'utf8')) as ScenarioInput, { file });
});

describe('worked out by hand', () => {
  it('ep: 6 ms there, 12 rows on GPU 0, 6 ms back', () => {
    const experts = 0.1 + 0.001 + 12 * 0.01 + 0.01 + 12 * 0.001;
    expect(of('ep').stepLatency.mean).toBeCloseTo(0.006 + experts + 0.006, 12);
    expect(of('ep').stepLatency.mean).toBeCloseTo(0.255, 12);
    // While it waits for GPU 0, GPU 1 idles 4 rows' time: 44 ms, half of it per GPU.
    expect(of('ep').time.waiting).toBeCloseTo(0.022, 12);
    expect(of('ep').tokensPerSecondPerGpu).toBeCloseTo(10 / 0.255, 9);
  });

  it('balanced: 5 copies across, 10 rows each', () => {
    expect(of('balanced').stepLatency.mean).toBeCloseTo(0.005 + (0.1 + 0.001 + 0.1 + 0.01 + 0.01) + 0.005, 12);
    expect(of('balanced').speedup.mean).toBeCloseTo(0.255 / 0.231, 12);
    expect(of('balanced').anchor).toBe(true);
  });

  it('llep: the weights share the links with the dispatch, and slow it from 4 to 8 ms', () => {
    // Expert 0 keeps 10 copies and gives 2 to GPU 1. 30,000 bytes of weights and 800 bytes of copies leave
    // GPU 0 together: the copies are there after 8 ms, the weights after 154 ms.
    const { phases } = of('llep').time;
    expect(phases.dispatch).toBeCloseTo(0.008, 12);
    expect(phases.weights).toBeCloseTo(0.154 / 2, 12);
    const onGpu1 = 0.1 + 2 * 0.001 + 10 * 0.01 + 2 * 0.01 + 10 * 0.001;
    expect(of('llep').stepLatency.mean).toBeCloseTo(0.154 + onGpu1 + 0.004, 12);
    expect(of('llep').speedup.mean).toBeCloseTo(0.255 / 0.39, 12);
    expect(of('llep').bytes).toEqual({ dispatch: 2 * 8 * 200, combine: 2 * 8 * 200, weights: 2 * 30_000, metadata: 0 });
    expect(of('llep').copies.moved).toBe(2 * 2);
    expect(of('llep').imbalance.gpu.after.maxOverMean).toBe(1);
  });

  it('replicate-quantize: half of expert 0 moves to GPU 1, which runs both at 8 bits', () => {
    // GPU 1 computes 6 + 8 rows of two experts that read half their bytes; 7 copies reach it from GPU 0.
    const onGpu1 = 0.1 + 2 * 0.001 + 14 * 0.01 + 2 * 0.005 + 14 * 0.001;
    expect(of('replicate-quantize').stepLatency.mean).toBeCloseTo(0.007 + onGpu1 + 0.007, 12);
    expect(of('replicate-quantize').loss!.quantisedCopies).toBe(2 * 14);
    expect(of('replicate-quantize').exact).toBe(false);
    // Load-imbalance score: 12 of a mean of 10 copies per expert, then 8.
    expect(of('replicate-quantize').imbalance.expert.before.maxOverMean).toBeCloseTo(1.2, 12);
    expect(of('replicate-quantize').imbalance.expert.after.maxOverMean).toBeCloseTo(0.8, 12);
  });

  it('capacity: 5 of each GPU’s 6 copies of expert 0 are kept', () => {
    expect(of('capacity').stepLatency.mean).toBeCloseTo(0.005 + (0.1 + 0.001 + 0.1 + 0.01 + 0.01) + 0.005, 12);
    expect(of('capacity').copies).toEqual({ routed: 40, dropped: 4, moved: 0 });
    expect(of('capacity').loss!.droppedByExpert).toEqual([4, 0]);
  });

  it('memory: resident weights, tokens in and out, what was received, what is computed', () => {
    // Per row: 200 bytes received, 300 between the products, 200 computed; per token 400 in and out.
    expect(of('ep').peakMemory.perGpu).toEqual([30_000 + 4000 + 12 * 700, 30_000 + 4000 + 8 * 700]);
    expect(of('ep').peakMemory.byCategory).toEqual({
      weights: 30_000,
      replicas: 0,
      staging: 0,
      communicationBuffers: 0,
      borrowedWeights: 0,
      activations: 4000,
      dispatchBuffers: 2400,
      intermediates: 3600,
      combineBuffers: 2400,
    });
    expect(of('llep').peakMemory.perGpu[1]).toBe(60_000 + 4000 + 10 * 700);
    // The replica takes what the quantised experts save.
    expect(of('replicate-quantize').peakMemory.perGpu[1]).toBe(15_000 + 15_000 + 4000 + 14 * 700);
  });

  it('memory verdicts: 70,000 bytes are left for tensors, LLEP needs 71,000', () => {
    expect(of('ep').peakMemory.verdict).toBe('fits');
    expect(of('llep').oom).toEqual({
      step: 0,
      layer: 0,
      gpu: 1,
      needed: 71_000,
      limit: 70_000,
      category: 'combineBuffers',
    });
    expect(of('llep').peakMemory.verdict).toBe('does not fit');
  });

  it('bounds: compute for all, of the work that each keeps', () => {
    // 20 rows of 11 ms over two GPUs; weights would take 10 ms, the links 10 ms.
    expect(of('ep').bound!.stepLatency).toBeCloseTo(0.11, 12);
    expect(of('ep').bound!.gap).toBeCloseTo(0.255 / 0.11 - 1, 12);
    expect(of('capacity').bound!.stepLatency).toBeCloseTo((18 * 0.011) / 2, 12);
    expect(of('balanced').bound).toBeNull();
  });

  it('routing and speed-ups of fixed routing have no spread', () => {
    expect(of('ep').imbalance.gpu.before.maxOverMean).toBeCloseTo(1.2, 12);
    const { mean, sampling } = of('llep').speedup;
    expect(sampling!.low).toBeCloseTo(mean, 12);
    expect(sampling!.high).toBeCloseTo(mean, 12);
  });

  it('intervals: first guesses of the kernel, the link, and traffic that nobody measured', () => {
    // Of 255 ms, 243 are experts and 12 network. GPU 0 receives 6 copies, GPU 1 4: the busiest port has 1.2 × the mean.
    const effect = (share: number, factor: number) => Math.log(share * factor + 1 - share);
    const total = (experts: number, link: number) =>
      Math.hypot(effect(243 / 255, experts), effect(12 / 255, link), effect(12 / 255, link ** 0.2));
    const below = total(0.8, 1 / 1.5);
    const above = total(4, 1.5);
    expect(of('ep').stepLatency.low).toBeCloseTo(0.255 * Math.exp(-below), 12);
    expect(of('ep').stepLatency.high).toBeCloseTo(0.255 * Math.exp(above), 12);
    expect(result.fastest).toEqual({ policy: 0, ties: [] });
  });

  it('the critical path of llep: the weights, the experts of GPU 1, and the way back', () => {
    const { critical } = of('llep').time;
    expect(critical.weights).toBeCloseTo(0.154, 12);
    expect(critical.experts).toBeCloseTo(0.232, 12);
    expect(critical.combine).toBeCloseTo(0.004, 12);
    expect(critical.dispatch).toBeUndefined();
  });
});
