import { describe, expect, it } from 'vitest';
import { parseScenario, setPath } from '../../src/scenario/index.js';

const scenario = {
  model: 'qwen3-30b-a3b',
  cluster: '8xh200',
  runtime: 'llep-reference',
  workload: {
    phase: 'prefill',
    tokensPerGpu: 8,
    steps: 2,
    routing: { kind: 'zipf', exponent: 1 },
  },
  policies: ['ep', 'llep'],
};

const set = (...assignments: string[]) => assignments.reduce<unknown>(setPath, scenario);

describe('--set', () => {
  it.each<[string, object]>([
    ['model.weightDtype=fp8', { model: { preset: 'qwen3-30b-a3b', weightDtype: 'fp8' } }],
    ['policies[1].alpha=1.2', { policies: ['ep', { kind: 'llep', alpha: 1.2 }] }],
    ['runtime.residentExperts=home', { runtime: { preset: 'llep-reference', residentExperts: 'home' } }],
    ['cluster.fabric=max-min', { cluster: { gpu: 'h200', gpus: 8, gpusPerNode: 8, fabric: 'max-min' } }],
    ['workload.steps=3', { workload: { ...scenario.workload, steps: 3 } }],
    ['policies[2]=capacity', { policies: ['ep', 'llep', 'capacity'] }],
  ])('%s', (assignment, expected) => {
    const changed = set(assignment);
    expect(changed).toMatchObject(expected);
    expect(() => parseScenario(changed, 'file')).not.toThrow();
  });

  it('takes a preset GPU apart', () => {
    const changed = set('cluster.gpu.memoryBytes=40e9') as { cluster: { gpu: object } };
    expect(changed.cluster.gpu).toMatchObject({ name: 'h200', memoryBytes: 40e9, sms: 132 });
    expect(() => parseScenario(changed, 'file')).not.toThrow();
  });

  it('leaves the scenario that it was given alone', () => {
    const before = structuredClone(scenario);
    set('model.weightDtype=fp8', 'policies[1].alpha=1.2');
    expect(scenario).toEqual(before);
  });

  it.each([
    [
      'model.topK=2',
      { ...scenario, model: 'config.json' },
      '--set: model: found "config.json", allowed: an object',
    ],
    ['workload.steps.x=1', scenario, '--set: workload.steps: found 2, allowed: an object'],
    ['policies[7]=ep', scenario, '--set: policies[7]: found no item 7, allowed: an index from 0 to 2'],
    ['policies.last=ep', scenario, '--set: policies.last: found no item last'],
  ])('refuses %s', (assignment, input, message) => {
    expect(() => setPath(input, assignment)).toThrow(message);
  });
});
