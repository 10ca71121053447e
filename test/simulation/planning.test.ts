/** What planning placements during the run costs: stalls where a step waits for it, host time beside steps elsewhere. */
import { describe, expect, it } from 'vitest';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from './random-scenario.js';

const SECONDS = 1e-3;
const EXPERTS = 8;
const STEPS = 12;
const INTERVAL = 4;
const LAYERS = 2;

type PolicyInput = ScenarioInput['policies'][number];

const eplb = (movement: 'blocking' | 'chunked' | 'async', planSecondsPerExpert: number): PolicyInput => ({
  kind: 'eplb',
  movement: { kind: movement, planSecondsPerExpert },
  history: { kind: 'window', steps: INTERVAL, interval: INTERVAL },
});

/** Results of a policy with a planner that takes no time, and with one that does. */
async function withAndWithout(of: (seconds: number) => PolicyInput, training = false) {
  const { policies } = await simulateScenario({
    ...(training ? { runtime: 'megatron-alltoall' as const, training: {} } : {}),
    model: { hiddenSize: 64, expertHiddenSize: 64, experts: EXPERTS, topK: 2, moeLayers: LAYERS },
    cluster: { gpu: 'h100', gpus: 4 },
    workload: {
      phase: training ? 'training' : 'prefill',
      tokensPerGpu: 32,
      steps: STEPS,
      layer: 'all',
      routing: { kind: 'zipf', exponent: 1, redraw: 'run' },
    },
    policies: ['ep', of(0), of(SECONDS)],
  });
  return [policies[1], policies[2]];
}

describe('planning during the run', () => {
  // Steps 4 and 8 plan, of the eight that count.
  const perStep = (EXPERTS * SECONDS * 2) / (STEPS - INTERVAL);

  it.each(['blocking', 'chunked'] as const)('%s: the step waits', async (movement) => {
    const [free, paid] = await withAndWithout((seconds) => eplb(movement, seconds));
    expect(free.time.critical.replan).toBeUndefined();
    expect(paid.time.critical.replan).toBeCloseTo(perStep, 12);
    expect(paid.time.phases.replan).toBeCloseTo(perStep, 12);
    expect(paid.stepLatency.mean - free.stepLatency.mean).toBeCloseTo(perStep, 12);
    expect(paid.stepLatency.max - free.stepLatency.max).toBeCloseTo(EXPERTS * SECONDS, 12);
    expect(paid.uncertainty.map(({ source }) => source)).toContain('planning');
  });

  it('async: beside the steps', async () => {
    const [free, paid] = await withAndWithout((seconds) => eplb('async', seconds));
    expect(paid.time.phases.replan).toBeCloseTo(perStep, 12);
    expect(paid.time.critical.replan).toBeUndefined();
    expect(paid.stepLatency).toEqual(free.stepLatency);
  });

  it('in training: the step waits, for every layer', async () => {
    const [free, paid] = await withAndWithout((seconds) => eplb('blocking', seconds), true);
    expect(paid.stepLatency.mean - free.stepLatency.mean).toBeCloseTo(LAYERS * perStep, 12);
    expect(paid.time.critical.replan).toBeCloseTo(LAYERS * perStep, 12);
  });

  it('replicate-quantize that plans anew waits, too', async () => {
    const [free, paid] = await withAndWithout((planSecondsPerExpert) => ({
      kind: 'replicate-quantize',
      replanEvery: INTERVAL,
      planSecondsPerExpert,
    }));
    expect(paid.stepLatency.mean - free.stepLatency.mean).toBeCloseTo(perStep, 12);
  });
});
