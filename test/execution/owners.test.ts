import { describe, expect, it } from 'vitest';
import { runtimes } from '../../src/execution/index.js';
import { simulateScenario } from '../simulation/random-scenario.js';

describe('whose stream a task runs on', () => {
  it.each(runtimes.map(({ name }) => name))('%s: every task on one stream is a GPU’s', async (runtime) => {
    const seen = new Set<number>();
    await simulateScenario(
      {
        model: { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2, moeLayers: 2 },
        cluster: { gpu: 'h100', gpus: 4 },
        runtime,
        workload: { phase: 'prefill', tokensPerGpu: 16, steps: 6, routing: { kind: 'zipf', exponent: 1 } },
        policies: [
          'ep',
          { kind: 'llep', imbalanceThreshold: 0, minTokensPerGemm: 1 },
          { kind: 'eplb', movement: 'async', history: { kind: 'window', interval: 4 } },
        ],
      },
      ({ program: { executor } }) => {
        const { tasks, owners, streamFirst } = executor.graph;
        for (let task = 0; task < tasks; task++) {
          if (streamFirst[task + 1] - streamFirst[task] === 1) seen.add(owners[task]);
          else expect(owners[task]).toBe(-1);
        }
      },
    );
    expect([...seen].sort()).toEqual([0, 1, 2, 3]);
  });
});
