/** What a movement in the background carries and keeps, beside the same movement all at once. */
import { describe, expect, it } from 'vitest';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from './random-scenario.js';

/** Plans at step 1 and not again; six steps, all of them counted. */
const scenarioOf = (fabric: 'ports' | 'max-min', from: 'gpus' | 'host'): ScenarioInput => ({
  model: { hiddenSize: 512, expertHiddenSize: 256, experts: 16, topK: 2, moeLayers: 4 },
  cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 2, fabric },
  workload: {
    phase: 'decode',
    tokensPerGpu: 64,
    steps: 6,
    warmupSteps: 0,
    routing: { kind: 'log-normal', sigma: 1, redraw: 'run' },
  },
  policies: (['blocking', 'async', 'free'] as const).map((kind) => ({
    kind: 'eplb',
    history: { kind: 'window', first: 1, interval: 50 },
    movement: kind === 'free' ? kind : { kind, from },
  })),
});

const EXPERT_BYTES = 3 * 512 * 256 * 2;

describe.each(['ports', 'max-min'] as const)('movement in the background, %s', (fabric) => {
  it('carries the bytes of the movement in equal parts, while it takes', async () => {
    const byStep: number[] = [];
    const seconds: Record<string, number[]> = { blocking: [], async: [], free: [] };
    const { policies } = await simulateScenario(scenarioOf(fabric, 'gpus'), (run, _, layerSeconds) => {
      if (!('movement' in run.options) || run.options.movement === null) return;
      const { movement } = run.options;
      const kind = typeof movement === 'string' ? movement : movement.kind;
      seconds[kind].push(layerSeconds);
      if (kind === 'async') byStep.push(run.program.weightBytes());
    });
    const [blocking, background, free] = policies.map(({ bytes }) => bytes.weights);
    expect(blocking).toBeGreaterThan(0);
    expect(blocking % EXPERT_BYTES).toBe(0);
    expect(background).toBe(blocking);
    expect(free).toBe(0);
    expect(byStep).toEqual([0, blocking / 4, blocking / 4, blocking / 4, blocking / 4, 0]);
    // It costs something while it lasts, at most what it costs alone, and less than all at once in any one step.
    const stall = seconds.blocking[1] - seconds.free[1];
    expect(Math.max(...seconds.async)).toBeLessThan(seconds.blocking[1]);
    for (const step of [2, 3, 4]) {
      expect(seconds.async[step]).toBeGreaterThan(seconds.free[step]);
      expect(seconds.async[step]).toBeLessThan(seconds.free[step] + stall);
    }
    expect(seconds.async[5]).toBe(seconds.free[5]);
  });

  it('keeps a staging buffer of a layer’s slots; blocking one of what arrives, while it travels', async () => {
    const { policies } = await simulateScenario(scenarioOf(fabric, 'gpus'));
    const [blocking, background, free] = policies.map(({ peakMemory }) => peakMemory.byCategory.staging);
    // Sixteen experts and a spare slot per GPU: five slots each.
    expect(background).toBe(5 * EXPERT_BYTES);
    expect(blocking % EXPERT_BYTES).toBe(0);
    expect(blocking).toBeLessThanOrEqual(5 * EXPERT_BYTES);
    expect(free).toBe(0);
  });

  it('never counts a slot twice while it changes hands', async () => {
    const { policies } = await simulateScenario(scenarioOf(fabric, 'gpus'));
    const [, background] = policies;
    for (const peak of background.peakMemory.perGpu) {
      // Slots and staging, and what a layer of 64 tokens of 512 times a few bytes needs besides.
      expect(peak).toBeGreaterThan(10 * EXPERT_BYTES);
      expect(peak).toBeLessThan(11.5 * EXPERT_BYTES);
    }
  });

  it('from host memory: the same bytes whenever they come, by way of each GPU’s host link', async () => {
    const { policies } = await simulateScenario(scenarioOf(fabric, 'host'));
    const [blocking, background, free] = policies;
    expect(blocking.bytes.weights).toBeGreaterThan(0);
    expect(blocking.bytes.weights % EXPERT_BYTES).toBe(0);
    expect(background.bytes.weights).toBe(blocking.bytes.weights);
    expect(free.bytes.weights).toBe(0);
    expect(blocking.stepLatency.mean).toBeGreaterThan(free.stepLatency.mean);
    expect(background.stepLatency.mean).toBeGreaterThan(free.stepLatency.mean);
  });
});
