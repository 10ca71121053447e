/** EP sizes: the same policy at every size, per GPU, with an interval. */
import { describe, expect, it } from 'vitest';
import { questions } from '../../src/advice/index.js';
import type { RuntimeOptions } from '../../src/execution/index.js';
import { fakeDesk, fakeResult, offline } from './fake-desk.js';

const question = questions.find(({ name }) => name === 'ep-size')!;

/** Tokens per second and GPU of [ep, eplb] by size, and under the runtime that slices, whole and sliced. */
interface Rates {
  sizes: Record<number, [ep: number, eplb: number]>;
  whole?: [number, number];
  sliced?: number;
  doubt?: number;
}

function answered({ sizes, whole = [10, 10], sliced = 10, doubt = 1.02 }: Rates) {
  const desk = fakeDesk(
    (_, variant) => {
      const { set = {} } = variant;
      const inputs = variant.policies(offline);
      const slicing = set.runtime as RuntimeOptions | undefined;
      const rates =
        slicing === undefined ? sizes[set['cluster.gpus'] as number] : inputs.length > 1 ? whole : [sliced];
      return fakeResult(
        inputs,
        rates.map((rate) => ({ seconds: 1 / rate, tokensPerSecondPerGpu: rate, doubt })),
      );
    },
    { gpus: 4 },
  );
  return question.answer(desk);
}

describe('ep-size', () => {
  it('compares the policy that is fastest at a size with the same one at the scenario’s', async () => {
    // 8 GPUs: eplb 24 against eplb 20 on 4; against ep there it would be 1.60.
    const { sentence } = await answered({ sizes: { 2: [10, 10], 4: [15, 20], 8: [16, 24] } });
    // Half-widths of 1.02 in quadrature: 1.2 · 1.02^±√2 = 1.167 and 1.234.
    expect(sentence).toContain(
      "8 GPUs, of 2, 4, 8: 24 [24, 24] tokens per second and GPU through one MoE layer with eplb, 1.50× [1.47, 1.53] as fast as ep, 1.20× [1.17, 1.23] what eplb has on the scenario's 4, for 2× the GPUs",
    );
  });

  it('stays with the scenario’s size where the interval does not tell them apart', async () => {
    const { sentence } = await answered({
      sizes: { 2: [10, 10], 4: [20, 20], 8: [21, 21] },
      doubt: 1.1,
    });
    expect(sentence).toMatch(/^4 GPUs, of 2, 4, 8: /);
    expect(sentence).toContain('Not to be told from it: 8 GPUs (1.05× [0.92, 1.20] what ep has on 4).');
  });

  it('sets sliced experts beside whole ones under the same runtime only', async () => {
    const sizes: Rates['sizes'] = { 2: [10, 10], 4: [20, 20], 8: [10, 10] };
    const better = await answered({ sizes, whole: [10, 12], sliced: 15 });
    expect(better.sentence).toContain(
      '1.50× [1.46, 1.54] what ep with whole experts has under the same runtime',
    );
    expect(better.sentence).toContain('1.25× [1.22, 1.29] what eplb has there.');
    expect(better.sentence).not.toContain('ideal');
    const tie = await answered({ sizes, whole: [10, 10], sliced: 10.1 });
    expect(tie.sentence).toContain('which the interval does not tell apart');
  });
});
