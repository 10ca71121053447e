/** What a history sees of the loads: phases and padding that it leaves out change the placement that follows. */
import { describe, expect, it } from 'vitest';
import { policies, policyOf } from '../../src/balancing/index.js';
import { slotsByGpu } from '../../src/balancing/placement.js';
import type { LayerPlan } from '../../src/balancing/plan.js';
import type { LayerView, PolicySetting } from '../../src/balancing/policy.js';
import { policySetting } from './policy-setting.js';

const EXPERTS = 4;
const eplb = policies.find(({ kind }) => kind === 'eplb')!;

const optionsOf = (history: object) =>
  eplb.options.parse({
    kind: 'eplb',
    placement: { kind: 'eplb', reorderOnly: true },
    movement: { kind: 'blocking', planSecondsPerExpert: 0 },
    history: { kind: 'window', steps: 8, interval: 2, ...history },
  });

const setting = (changes: Partial<PolicySetting> = {}): PolicySetting =>
  policySetting(2, EXPERTS, { copiesPerGpu: 16, hasPhases: true, hasPadding: true, ...changes });

/** The experts that share a GPU once these steps have been seen. */
function partnersAfter(steps: Partial<LayerView>[], history: object): number[][] {
  const options = optionsOf(history);
  const policy = policyOf(options);
  let state = policy.start(options, setting());
  let plan!: LayerPlan;
  for (const [step, seen] of [...steps, steps[0]].entries()) {
    const loads = seen.loads!;
    const counts = new Int32Array(2 * EXPERTS);
    counts.set(loads);
    const view = { step, layer: 0, counts, tokensBySource: null, tokens: null, seed: 1, ...seen, loads };
    ({ state, plan } = policy.decide(state, view));
  }
  return slotsByGpu(plan.placement).map((slots) => [...slots].sort());
}

const hot = (...experts: number[]) =>
  Float64Array.from({ length: EXPERTS }, (_, expert) => (experts.includes(expert) ? 10 : 2));

describe('loads that a history sees', () => {
  const prefill = { phase: 'prefill', loads: hot(0, 1) } as const;
  const decode = { phase: 'decode', loads: hot(1, 2) } as const;

  it('of one phase: hot experts of the other stay together', () => {
    const together = (pair: number[], placed: number[][]) =>
      placed.some((slots) => pair.every((expert) => slots.includes(expert)));
    const forPrefill = partnersAfter([prefill, decode], { phase: 'prefill' });
    const forDecode = partnersAfter([prefill, decode], { phase: 'decode' });
    expect(together([0, 1], forPrefill)).toBe(false);
    expect(together([1, 2], forDecode)).toBe(false);
    expect(forPrefill).not.toEqual(forDecode);
  });

  it('of a phase that has not come: nothing is planned', () => {
    const inOrder = [
      [0, 1],
      [2, 3],
    ];
    expect(partnersAfter([decode, decode], { phase: 'prefill' })).toEqual(inOrder);
    expect(partnersAfter([prefill, prefill], { phase: 'prefill' })).not.toEqual(inOrder);
  });

  it('without padding: a dummy token that heats two experts moves nothing', () => {
    // Without their padding, 2 and 3 are cold and 0 and 1 hot; with it all are alike.
    const padded = { loads: Float64Array.of(8, 8, 8, 8), padding: Int32Array.of(0, 0, 7, 7) };
    const placed = partnersAfter([padded, padded], { padding: 'left-out' });
    expect(placed.every((slots) => slots.filter((expert) => expert < 2).length === 1)).toBe(true);
    const unseen = { loads: Float64Array.of(8, 8, 8, 8) };
    expect(partnersAfter([padded, padded], {})).toEqual(partnersAfter([unseen, unseen], {}));
  });

  it.each([
    [{ phase: 'decode' }, { hasPhases: false }, 'history.phase'],
    [{ padding: 'left-out' }, { hasPadding: false }, 'history.padding'],
  ])('%j is refused where the routing can not tell', (history, known, option) => {
    const options = optionsOf(history);
    expect(policyOf(options).refusal(options, setting(known))).toMatchObject({ option });
    expect(policyOf(options).refusal(options, setting())).toBeNull();
  });
});
