/** What plans, choices and scores are made from. */
import { describe, expect, it } from 'vitest';
import { heldOut, partOf, type Divided } from '../../src/advice/index.js';

const variant = { policies: () => [] };
const generated: Divided = { routing: 'zipf', steps: 6, seed: 7, hasFaults: false };

describe('parts of the routing', () => {
  it('keeps the seed of generated routing, and chooses from the steps after those that score', () => {
    expect(partOf('score', variant, generated).set).toEqual({});
    expect(partOf('choose', variant, generated).set).toEqual({
      'workload.steps': 12,
      'workload.warmupSteps': 6,
    });
    const longer = { ...variant, set: { 'workload.steps': 300 } };
    expect(partOf('choose', longer, generated).set).toMatchObject({ 'workload.steps': 600 });
  });

  it('leaves faults out of what chooses, and gives a twin another seed', () => {
    expect(partOf('choose', variant, { ...generated, hasFaults: true }).set['cluster.faults']).toEqual([]);
    expect(partOf('choose', variant, { ...generated, routing: 'twin' }).set).toEqual({ seed: '7/choose' });
  });

  it('divides a recording: a quarter to plan, one to choose, a half to score', () => {
    const recorded = { ...generated, routing: 'trace' };
    const choose = partOf('choose', variant, recorded);
    expect(choose).toMatchObject({ offline: { share: 0.25 }, set: { 'workload.routing.part': [0.25, 0.5] } });
    const score = partOf('score', variant, recorded);
    expect(score.offline.share).toBe(0.5);
    expect(score.set).not.toHaveProperty('workload.routing.part');
  });

  it('does not claim more than it does: which answers are chosen on one part and scored on another', () => {
    for (const routing of ['trace', 'zipf', 'twin']) {
      expect(heldOut(routing)).toContain('redundancy, replica choice and interval');
      expect(heldOut(routing)).toContain('other answers name the best of what they scored');
    }
  });
});
