/** Engine presets as a user meets them: a policy's name, and `engine` for the runtime. */
import { describe, expect, it } from 'vitest';
import type { Result } from '../../src/index.js';
import { epsim, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
const tokens = {
  ...small,
  workload: {
    ...small.workload,
    steps: 4,
    warmupSteps: 0,
    routing: { kind: 'zipf', exponent: 1, redraw: 'run', tokens: true },
  },
};

function run(change: object): Result {
  const { status, stdout, stderr } = epsim([
    'run',
    writeJson(folder, 'engine.json', { ...tokens, ...change }),
    '--format',
    'json',
  ]);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Result;
}

describe('engine presets', () => {
  it('vllm: what EPLBConfig says, and no redundant experts until they are asked for', () => {
    const [plain, redundant] = run({ policies: ['vllm', { kind: 'vllm', slots: 12 }] }).policies;
    expect(plain.policy).toMatchObject({
      dispatch: 'token-hash',
      movement: 'async',
      history: { kind: 'window', steps: 1000, interval: 3000, first: 750 },
    });
    // The buffer that coming weights travel into has the size of a GPU's slots: two, and with twelve on four GPUs three.
    const [two, three] = [plain, redundant].map(({ peakMemory }) => peakMemory.byCategory.staging);
    expect(two).toBeGreaterThan(0);
    expect(three / two).toBe(1.5);
  });

  it('options override defaults: a short history plans within four steps', () => {
    const history = { kind: 'window', steps: 1, interval: 3 };
    const [own] = run({ policies: [{ kind: 'sglang', slots: 12, history }] }).policies;
    // Its planner: 67 µs for each of eight experts, once in the four steps.
    expect(own.time.critical.replan).toBeCloseTo((8 * 67e-6) / 4, 12);
  });

  it('engine sets the runtime of the phase, and a runtime that is given wins', () => {
    expect(run({ engine: 'vllm' }).runtime).toBe('allgather-reducescatter');
    expect(run({ engine: 'sglang' }).runtime).toBe('deepep-normal');
    expect(run({ engine: 'sglang', workload: { ...tokens.workload, phase: 'decode' } }).runtime).toBe(
      'deepep-low-latency',
    );
    expect(run({ engine: 'sglang', runtime: 'ideal' }).runtime).toBe('ideal');
    expect(run({}).runtime).toBe('ideal');
  });

  it('a placement made offline is what tensorrt-llm has without layer_updates_per_iter', () => {
    const [own] = run({ policies: ['tensorrt-llm'] }).policies;
    expect(own.bytes.weights).toBe(0);
    expect(own.peakMemory.byCategory.replicas).toBeGreaterThan(0);
  });

  it.each<[string, object, string]>([
    [
      'counts, where replicas are chosen by token',
      { policies: ['vllm'], workload: small.workload },
      'policies[0].dispatch: found token-hash, but the routing holds counts without tokens',
    ],
    [
      'slots of a placement that has none',
      { policies: [{ kind: 'vllm-ascend', slots: 12 }] },
      'policies[0].slots: found 12 with placement ascend-default, which has no such option',
    ],
    ['slots that GPUs can’t share', { policies: [{ kind: 'vllm', slots: 9 }] }, 'slots: found 9 on 4 GPUs'],
    ['an engine that is none', { engine: 'triton' }, 'engine: found "triton", allowed: "vllm", "sglang"'],
    [
      'fewer steps than the first plan waits for',
      { policies: ['vllm'], workload: { ...tokens.workload, warmupSteps: undefined } },
      'workload.steps: found 4, all of which warm vllm up, allowed: more than 750',
    ],
  ])('refuses %s', (_, change, message) => {
    const { status, stdout, stderr } = epsim([
      'run',
      writeJson(folder, 'bad.json', { ...tokens, ...change }),
    ]);
    expect([status, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(stderr).toContain(message);
  });

  it('epsim list engines shows every default with its source', () => {
    const { stdout } = epsim(['list', 'engines']);
    for (const name of ['vllm', 'sglang', 'tensorrt-llm', 'vllm-ascend', 'megatron'])
      expect(stdout).toMatch(new RegExp(`^ {2}${name} +runtime: `, 'm'));
    expect(stdout).toContain('history: window of 1000 steps, every 3000, first after 750 (EPLBConfig');
  });
});
