/** Which part of a step is slow: all of its phases count, and the sentence says what the shares say. */
import { describe, expect, it } from 'vitest';
import { questions } from '../../src/advice/index.js';
import type { PolicyResult } from '../../src/simulation/index.js';
import { fakeDesk, fakeResult, offline } from './fake-desk.js';

type Critical = PolicyResult['time']['critical'];

const question = questions.find(({ name }) => name === 'experts-or-attention')!;

async function answered(critical: Critical, waitingFor = { source: 0, experts: 0 }) {
  const seconds = Object.values(critical).reduce((sum, own) => sum + own, 0);
  const waiting = waitingFor.source + waitingFor.experts;
  return question.answer(
    fakeDesk((_, variant) =>
      fakeResult(variant.policies(offline), [{ seconds, critical, waiting, waitingFor }]),
    ),
  );
}

describe('experts-or-attention', () => {
  it('names the host where it takes the step, and counts every phase', async () => {
    const { sentence, rows } = await answered({
      host: 0.7,
      plan: 0.1,
      experts: 0.1,
      attention: 0.04,
      head: 0.01,
      dispatch: 0.02,
      route: 0.02,
      move: 0.006,
      replan: 0.004,
    });
    expect(sentence).toMatch(/^Neither, but the host: .*the host takes 80\.0 %, experts 10\.0 %, attention/);
    expect(rows[0]).toMatchObject({ experts: 0.1, exchanges: 0.02 });
    const { experts, attentionAndDense, exchanges, routingAndCopying, host, newPlacements } =
      rows[0] as Record<string, number>;
    expect(attentionAndDense).toBeCloseTo(0.05);
    expect(newPlacements).toBeCloseTo(0.01);
    expect(host).toBeCloseTo(0.8);
    expect(experts + attentionAndDense + exchanges + routingAndCopying + host + newPlacements).toBeCloseTo(1);
  });

  it('does not call experts slow where they take least, however much GPUs wait for them', async () => {
    const { sentence } = await answered(
      { experts: 0.26, attention: 0.33, dispatch: 0.2, combine: 0.21 },
      { source: 0, experts: 0.06 },
    );
    expect(sentence).toMatch(
      /^Neither, but exchanges: .*exchanges take 41\.0 %, attention.* 33\.0 %, experts 26\.0 %; /,
    );
    expect(sentence).toContain('6.0 % for those late by experts');
  });

  it.each<[string, Critical]>([
    ['Experts', { experts: 0.6, attention: 0.3, dispatch: 0.1 }],
    ['Attention and dense parts', { experts: 0.3, attention: 0.2, dense: 0.2, dispatch: 0.3 }],
  ])('says %s where they take most', async (said, critical) => {
    expect((await answered(critical)).sentence.split(':')[0]).toBe(said);
  });
});
