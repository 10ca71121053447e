/** Published signs of balancers: each scenario in scenarios/signs shows the sentence that is its name. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from './random-scenario.js';

const folder = new URL('../../scenarios/signs/', import.meta.url);

/** Runs a sign's scenario, changed; `of` finds the result of its policies by what tells them apart. */
async function sign(file: string, change: Partial<ScenarioInput> = {}) {
  const written = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as ScenarioInput;
  const training = written.training && { ...written.training, ...change.training };
  const { policies } = await simulateScenario({ ...written, ...change, training });
  return {
    /** Mean step of the policy whose options, as JSON, contain all of these texts. */
    of: (...texts: string[]) => {
      const found = policies.filter(({ policy }) =>
        texts.every((text) => JSON.stringify(policy).includes(text)),
      );
      expect(found.length, texts.join(' ')).toBe(1);
      const [{ stepLatency, imbalance, bytes, peakMemory, training: trained }] = found;
      return {
        seconds: stepLatency.mean,
        gamma: imbalance.gpu.after.maxOverMean,
        weights: bytes.weights,
        memory: peakMemory,
        trained: trained!,
      };
    },
  };
}

describe('signs', () => {
  it('synchronous rebalancing can cost more than it gains', async () => {
    const { of } = await sign('blocking-rebalances-cost.json');
    const ep = of('"kind":"ep"').seconds;
    // The placements are worth it, their movement every ten steps is not, every hundred it is.
    expect(of('"free"').seconds).toBeLessThan(0.95 * ep);
    expect(of('"blocking"', '"interval":10,').seconds).toBeGreaterThan(1.05 * ep);
    expect(of('"blocking"', '"interval":100').seconds).toBeLessThan(ep);
    // In the background it costs less than all at once, though it moves oftener than the latter pays.
    expect(of('"async"').seconds).toBeLessThan(ep);
    expect(of('"blocking"', '"interval":10,').gamma).toBeCloseTo(of('"free"').gamma, 6);
  });

  it('EPLB loses to EPLB with oracle load under drift, and only there', async () => {
    const drift = await sign('drift-beats-history.json');
    expect(drift.of('"oracle"').seconds).toBeLessThan(0.85 * drift.of('"window"').seconds);
    const steady = await sign('steady-load-needs-no-oracle.json');
    expect(steady.of('"oracle"').seconds).toBeGreaterThan(0.98 * steady.of('"window"').seconds);
    expect(steady.of('"window"').seconds).toBeLessThan(0.85 * steady.of('"kind":"ep"').seconds);
  });

  it('METRO beats token balance in decode and not in prefill', async () => {
    const decode = await sign('fewest-active-decode.json');
    const prefill = await sign('fewest-active-prefill.json');
    for (const balanced of ['"even"', '"lp"']) {
      expect(decode.of('"fewest-active"').seconds).toBeLessThan(0.9 * decode.of(balanced).seconds);
      expect(prefill.of('"fewest-active"').seconds).toBeGreaterThan(1.1 * prefill.of(balanced).seconds);
    }
    // Token balance alone is no measure of a decode step.
    expect(decode.of('"fewest-active"').gamma).toBeGreaterThan(decode.of('"lp"').gamma);
  });

  it.each(['allgather-reducescatter', 'deepep-low-latency', 'groupwise-alltoall'] as const)(
    'METRO beats token balance in decode under %s too, its kernel counted, where experts are large',
    async (runtime) => {
      const { of } = await sign('fewest-active-decode.json', { runtime, model: 'qwen3-235b-a22b' });
      for (const balanced of ['"even"', '"lp"'])
        expect(of('"fewest-active"').seconds).toBeLessThan(0.9 * of(balanced).seconds);
    },
  );

  it('replica choice by position shows its artefact', async () => {
    const { of } = await sign('flat-position-artefact.json');
    expect(of('"flat-position"').gamma).toBeGreaterThan(1.15 * of('"token-hash"').gamma);
    expect(of('"flat-position"').seconds).toBeGreaterThan(1.1 * of('"token-hash"').seconds);
  });

  it('hierarchical EPLB cannot mend a one-hot load across nodes', async () => {
    const { of } = await sign('one-hot-across-nodes.json');
    const [hierarchical, global] = [of('"groups":8'), of('"groups":1')];
    // Four nodes: what one of them holds of half the load is at least twice the mean.
    expect(hierarchical.gamma).toBeGreaterThan(2);
    expect(global.gamma).toBeLessThan(1.5);
    expect(hierarchical.seconds).toBeGreaterThan(2 * global.seconds);
  });

  it('in training, LLEP keeps borrowed weights until their backward pass', async () => {
    const [kept, fetched] = [
      await sign('training-keeps-borrowed-weights.json'),
      await sign('training-keeps-borrowed-weights.json', { training: { borrowedWeights: 'fetch-again' } }),
    ];
    // One GPU borrows one expert per layer at least: at the peak those of all six layers are there.
    const expert = 3 * 2880 * 2880 * 2;
    const borrowed = (run: typeof kept) => run.of('"llep"').memory.byCategory.borrowedWeights;
    expect(borrowed(kept)).toBeGreaterThanOrEqual(6 * expert);
    expect(borrowed(kept) % (6 * expert)).toBe(0);
    // Fetched a second time, they are there for one layer at a time, and travel twice.
    expect(borrowed(fetched)).toBe(borrowed(kept) / 6);
    expect(fetched.of('"llep"').memory.max).toBeLessThan(kept.of('"llep"').memory.max);
    expect(fetched.of('"llep"').weights).toBe(2 * kept.of('"llep"').weights);
  });

  it('recomputing everything saves most memory and takes longest; recomputing nothing is the reverse', async () => {
    const choices = ['none', 'activation', 'moe', 'full'] as const;
    const runs = [];
    for (const recompute of choices)
      runs.push(await sign('training-recompute.json', { training: { recompute } }));
    for (const policy of ['"ep"', '"llep"']) {
      const seconds = runs.map(({ of }) => of(policy).seconds);
      const saved = runs.map(({ of }) => of(policy).memory.byCategory.savedForBackward!);
      const peaks = runs.map(({ of }) => of(policy).memory.max);
      for (let i = 1; i < choices.length; i++) {
        expect(seconds[i], choices[i]).toBeGreaterThan(seconds[i - 1]);
        expect(saved[i], choices[i]).toBeLessThan(saved[i - 1]);
        expect(peaks[i], choices[i]).toBeLessThan(peaks[i - 1]);
      }
      // The layer again is a forward pass more, of three, and not what a third of the step is.
      expect(seconds[3] / seconds[0]).toBeGreaterThan(1.2);
      expect(seconds[3] / seconds[0]).toBeLessThan(1.5);
    }
  });

  it('as many bytes of gradients go home as weights were borrowed, hidden behind the backward pass', async () => {
    const { of } = await sign('training-gradients-home.json');
    for (const policy of ['"llep"', '"ultraep"']) {
      const { bytes, critical } = of(policy).trained;
      expect(bytes.forward.weights).toBeGreaterThan(0);
      expect(bytes.gradients.borrowed).toBe(bytes.forward.weights);
      const backward = Object.values(critical.backward).reduce((sum, seconds) => sum + seconds, 0);
      const exposed = (critical.backward.gradients ?? 0) + (critical.backward.accumulate ?? 0);
      expect(exposed / backward).toBeLessThan(0.05);
    }
    expect(of('"ep"').trained.bytes.gradients).toEqual({ borrowed: 0, replicas: 0, reduced: 0 });
  });

  it('has a test for every scenario', () => {
    const source = readFileSync(new URL('signs.test.ts', import.meta.url), 'utf8');
    for (const file of readdirSync(folder)) expect(source).toContain(`'${file}'`);
  });
});
