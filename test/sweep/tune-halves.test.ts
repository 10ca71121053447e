import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { halvesOf } from '../../src/tune-halves.js';

const file = fileURLToPath(new URL('../../scenarios/quickstart.json', import.meta.url));
const quickstart = JSON.parse(readFileSync(file, 'utf8')) as {
  workload: { routing: object; tokensPerGpu: number };
};
const { workload } = quickstart;

describe('halves of a recording', () => {
  it('hold as many whole steps as the shorter one', async () => {
    // 57,600 tokens each; a step is 8 × 2,048.
    expect(await halvesOf(quickstart, file)).toEqual({ search: [0, 0.5], score: [0.5, 1], steps: 3 });
  });

  it('are drawn from as often as one likes', async () => {
    const resampled = { ...workload, steps: 20, routing: { ...workload.routing, resample: true } };
    expect(await halvesOf({ ...quickstart, workload: resampled }, file)).toMatchObject({ steps: null });
  });

  it.each([
    ['a generator', { ...workload, routing: { kind: 'balanced' } }],
    ['a part that the scenario names', { ...workload, routing: { ...workload.routing, part: [0, 0.2] } }],
    ['a step that takes more than half of it', { ...workload, tokensPerGpu: 8192 }],
  ])('there are none of %s', async (_, changed) => {
    expect(await halvesOf({ ...quickstart, workload: changed }, file)).toBeNull();
  });
});
