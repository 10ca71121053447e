import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gpuPresets } from '../../src/hardware/index.js';
import type { Result } from '../../src/index.js';
import { epsim, root, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();

/** Runs a changed scenario, which must be refused with one message and exit code 2. */
function refuse(change: (scenario: Record<string, never>) => void): string {
  const scenario = structuredClone(small) as unknown as Record<string, never>;
  change(scenario);
  const file = writeJson(folder, 'bad.json', scenario);
  const { status, stdout, stderr } = epsim(['run', file]);
  expect(stderr).not.toContain('    at ');
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  return stderr.trim().replace(`${file}: `, '');
}

const set = (path: string, value: unknown) => (scenario: object) => {
  const parts = path.split('.');
  const last = parts.pop()!;
  const parent = parts.reduce((at, part) => (at as Record<string, object>)[part], scenario);
  (parent as Record<string, unknown>)[last] = value;
};

describe('bad input: exit code 2, one message with file, path, found and allowed', () => {
  it.each<[string, (scenario: object) => void, string]>([
    [
      'an unknown key',
      set('polices', []),
      "polices: found unknown key 'polices', allowed: $schema, name, model",
    ],
    [
      'an unknown key inside',
      set('workload.token', 3),
      "workload.token: found unknown key 'token', allowed: phase, tokensPerGpu",
    ],
    [
      'an unknown option',
      set('policies', [{ kind: 'llep', alfa: 1 }]),
      "policies[0].alfa: found unknown key 'alfa', allowed: kind, alpha",
    ],
    [
      'a number out of range',
      set('policies', [{ kind: 'llep', alpha: -1 }]),
      'policies[0].alpha: found -1, allowed: a number > 0',
    ],
    ['an unknown policy', set('policies', ['epp']), 'policies[0]: found "epp", allowed: "ep", "llep"'],
    [
      'an unknown kind of policy',
      set('policies', [{ kind: 'x' }]),
      'policies[0].kind: found "x", allowed: "ep", "llep"',
    ],
    ['no policy', set('policies', []), 'policies: found [], allowed: length ≥ 1'],
    [
      'an unknown generator',
      set('workload.routing', { kind: 'zip' }),
      'workload.routing.kind: found "zip", allowed: "balanced", "hot-experts"',
    ],
    [
      'a missing parameter',
      set('workload.routing', { kind: 'zipf' }),
      'workload.routing.exponent: found nothing, allowed: a number',
    ],
    ['a text for a number', set('workload.steps', 'many'), 'workload.steps: found "many", allowed: a number'],
    ['half a GPU', set('cluster.gpus', 2.5), 'cluster.gpus: found 2.5, allowed: a whole number'],
    ['no tokens', set('workload.tokensPerGpu', 0), 'workload.tokensPerGpu: found 0, allowed: a number ≥ 1'],
    [
      'generated routing without a size',
      set('workload.tokensPerGpu', undefined),
      'workload.tokensPerGpu: found nothing, allowed: a whole number',
    ],
    ['an unknown model', set('model', 'gpt-5'), 'model: found "gpt-5", allowed: gpt-oss-20b, gpt-oss-120b'],
    ['an unknown preset', set('model', { preset: 'x' }), 'model.preset: found "x", allowed: "gpt-oss-20b"'],
    [
      'experts that don’t divide, for a policy that needs it',
      (scenario) => {
        set('cluster.gpus', 3)(scenario);
        set('policies', [{ kind: 'eplb', placement: { kind: 'eplb', reorderOnly: true } }])(scenario);
      },
      'policies[0].placement.reorderOnly: found true, which leaves 8 slots for 3 GPUs, allowed: false',
    ],
    [
      'nodes that don’t divide',
      set('cluster', { gpu: 'h100', gpus: 8, gpusPerNode: 3 }),
      'cluster.gpus: found 8 GPUs in nodes of 3, allowed: a multiple of gpusPerNode',
    ],
    ['more choices than experts', set('model.topK', 9), 'model.topK: found 9, allowed: at most experts = 8'],
    [
      'more choices than a preset has experts',
      set('model', { preset: 'gpt-oss-20b', topK: 200 }),
      'model.topK: found 200, allowed: at most experts = 32',
    ],
    [
      'more choices than the groups hold',
      set('model', { ...small.model, topK: 3, routerGroups: 4 }),
      'model.topK: found 3, allowed: at most the 2 experts of 1 groups',
    ],
    [
      'a layer beyond the model',
      set('workload.layer', 2),
      'workload.layer: found 2, allowed: 0 to 1, or "all"',
    ],
    [
      'a kernel that the profile lacks',
      set('model.weightDtype', 'fp32'),
      'model.weightDtype: found "fp32" (profile h100-fitted has no expert stage for layout fused, weights fp32, ' +
        'activations bf16), allowed: measure that kernel, or use one it has (',
    ],
    [
      'a profile of another GPU',
      set('cluster.profile', 'a100-nominal'),
      'cluster.profile: found timings of a100, allowed: timings of h100',
    ],
    [
      'scores without gate weights',
      set('policies', [{ kind: 'capacity', order: 'score' }]),
      'policies[0].order: found score, but the routing has no gate weights, allowed: position, random, or routing',
    ],
    [
      'replicas that save nothing',
      (scenario) => {
        set('model.weightDtype', 'mxfp4')(scenario);
        set('policies', ['ep', 'replicate-quantize'])(scenario);
      },
      'policies[1].bits: found 8, allowed: 1 to 4, below the 4.25 bits of the expert weights, or quantising an expert ' +
        'saves nothing to pay a replica with (bits: 4; or model.weightDtype: bf16)',
    ],
    [
      'a capacity of no copy',
      set('policies', ['ep', { kind: 'capacity', budget: 'gpu', factor: 0.0001 }]),
      'policies[1].factor: found 0.0001, of 64 copies per GPU not a single one, allowed: at least 0.0157',
    ],
    [
      'more warm-up than steps',
      set('workload.warmupSteps', 3),
      'workload.warmupSteps: found 3 of 3 steps, allowed: at most 2',
    ],
    [
      'a history as long as the run',
      set('policies', ['ep', { kind: 'replicate-quantize', replanEvery: 3 }]),
      'workload.steps: found 3, all of which warm replicate-quantize(replanEvery=3) up, allowed: more than 3',
    ],
    [
      'a GPU smaller than what drivers take',
      set('cluster.gpu', { ...gpuPresets.h100, memoryBytes: 1e9 }),
      'cluster.gpu.memoryBytes: found 1000000000, allowed: bytes, more than the 1500000000',
    ],
    [
      'as many hot experts as experts',
      set('workload.routing', { kind: 'hot-experts', share: 0.5, experts: 8 }),
      'workload.routing: found 8 hot experts, allowed: fewer than',
    ],
  ])('%s', (_, change, message) => expect(refuse(change)).toContain(message));

  it('what a refusal says to type works', () => {
    const started = join(folder, 'started.json');
    epsim(['init', started, '--force']);
    const args = ['run', started, '--set', 'workload.steps=2', '--set', 'model=gpt-oss-20b'];
    expect(epsim(args).stderr).toContain(`${started}: policies[2].bits: found 8, allowed: 1 to 4`);
    expect(epsim([...args, '--set', 'policies[2].bits=4']).status).toBe(0);
    expect(epsim([...args, '--set', 'model.weightDtype=bf16']).status).toBe(0);
    const gpu = ['run', writeJson(folder, 'small.json', small), '--policy'];
    expect(epsim([...gpu, 'capacity:factor=0.0156,budget=gpu']).stderr).toContain('factor: 0.0157)');
    expect(epsim([...gpu, 'capacity:factor=0.0157,budget=gpu']).status).toBe(0);
  });

  it('a scenario that is no JSON, or not there', () => {
    const broken = writeJson(folder, 'broken.json', '{ "model": ');
    expect(epsim(['run', broken])).toMatchObject({ status: 2, stdout: '' });
    expect(epsim(['run', broken]).stderr).toContain('broken.json: found ');
    const { status, stderr } = epsim(['run', join(folder, 'nowhere.json')]);
    expect([status, stderr.trim()]).toEqual([
      2,
      `${join(folder, 'nowhere.json')}: found no such file or folder, allowed: a file that can be read`,
    ]);
  });

  it('a recording that is not there says how to get it', () => {
    const { status, stderr } = epsim(
      [
        'run',
        join(root, 'scenarios/gpt-oss-20b-recorded-decode.json'),
        '--set',
        'workload.routing.path="../../shared/traces/none/none"',
      ],
      { env: { EPSIM_SHARED: '' } },
    );
    expect(status).toBe(2);
    expect(stderr).toContain('found no recording there');
    expect(stderr).toContain('not part of epsim');
    expect(stderr).toContain('EPSIM_SHARED');
  });

  it('a recording of another model, or damaged', () => {
    const quickstart = join(root, 'traces/quickstart.parquet');
    const routing = { kind: 'trace', path: quickstart };
    expect(refuse(set('workload.routing', routing))).toContain(
      'workload.routing.path: found ' +
        quickstart +
        ', a recording of epsim-small-moe (8 layers, 32 experts, top 4) with experts 32, allowed: a recording of custom with experts 8',
    );
    const damaged = join(folder, 'damaged.parquet');
    writeFileSync(damaged, 'PAR1 and nothing more');
    expect(refuse(set('workload.routing', { kind: 'trace', path: damaged }))).toContain(
      'damaged.parquet: found not a Parquet file that can be read',
    );
  });

  it('several scenarios: none runs where one is wrong', () => {
    const endless = writeJson(folder, 'endless.json', {
      ...small,
      workload: { ...small.workload, steps: 10_000_000 },
    });
    const wrong = writeJson(folder, 'wrong.json', { ...small, policies: ['nothing'] });
    const { status, stdout, stderr } = epsim(['run', endless, wrong]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`${wrong}: policies[0]: found "nothing"`);
  });

  it('asks for more than a recording holds', () => {
    const { status, stderr } = epsim([
      'run',
      join(root, 'scenarios/quickstart.json'),
      '--set',
      'workload.steps=10',
    ]);
    expect(status).toBe(2);
    expect(stderr).toMatch(
      /found 10 steps of 16384 tokens, but after calibration the recording holds \d+ tokens in \d+ sequences/,
    );
    expect(stderr).toContain('or resample: true');
  });

  it('a model config that is none, and one that is', () => {
    writeJson(folder, 'config.json', { hidden_size: 64 });
    expect(refuse(set('model', 'config.json'))).toContain(
      'config.json: found no moe_intermediate_size or intermediate_size, no n_routed_experts or num_experts',
    );
    const config = {
      hidden_size: 64,
      moe_intermediate_size: 64,
      n_routed_experts: 8,
      num_experts_per_tok: 2,
      num_hidden_layers: 2,
    };
    writeJson(folder, 'config.json', { ...config, hidden_size: '64' });
    expect(refuse(set('model', 'config.json'))).toBe(
      'config.json: hidden_size: found "64", allowed: a whole number ≥ 1',
    );
    writeJson(folder, 'config.json', { ...config, num_experts_per_tok: 9 });
    expect(refuse(set('model', 'config.json'))).toBe(
      'config.json: topK: found 9, allowed: at most experts = 8',
    );
    writeJson(folder, 'config.json', config);
    mkdirSync(join(folder, 'my-moe'));
    writeJson(folder, 'my-moe/config.json', config);
    for (const [model, name] of [
      ['config.json', 'config.json'],
      ['my-moe/config.json', 'my-moe'],
    ]) {
      const scenario = writeJson(folder, 'with-config.json', { ...small, model });
      const { status, stdout } = epsim(['run', scenario]);
      expect([status, stdout.split('\n')[1]]).toEqual([0, expect.stringMatching(`^${name} on 4`)]);
    }
  });

  it('a profile that is not subadditive', () => {
    writeJson(folder, 'profile.json', {
      schema: 'epsim/profile@1',
      name: 'x',
      gpu: 'h100',
      status: 'fitted',
      sources: ['x'],
    });
    expect(refuse(set('cluster.profile', 'profile.json'))).toContain(
      'profile.json: expertStages: found nothing',
    );
  });

  it('bad usage', () => {
    expect(epsim(['frobnicate']).status).toBe(2);
    expect(epsim(['run']).status).toBe(2);
    expect(epsim(['run', 'x.json', '--format', 'xml']).status).toBe(2);
    const scenario = writeJson(folder, 'small.json', small);
    expect(epsim(['run', scenario, '--set', 'nothing']).stderr).toContain(
      "--set: found 'nothing', allowed: path=value",
    );
    expect(epsim(['run', scenario, '--set', '__proto__.x=1']).status).toBe(2);
    expect(epsim(['run', scenario, '--policy', 'llep:alpha']).stderr).toContain(
      "--policy: found 'alpha', allowed: option=value",
    );
    expect(epsim(['plan', '--policy', 'llep', '--gpus', 'x', '--loads', '1']).status).toBe(2);
    expect(epsim(['plan', '--policy', 'llep', '--gpus', '2', '--loads', '1,,2']).stderr).toContain(
      "--loads: found ''",
    );
    expect(epsim(['diff', scenario, scenario]).stderr).toContain('found no result');
  });

  it.each<[string, string[], string]>([
    ['nothing to plan', [], 'plan: found no --gpus and --loads, allowed: --gpus 4 --loads 60,4,8'],
    ['no GPUs', ['--loads', '1,2'], 'plan: found no --gpus, allowed:'],
    ['zero GPUs', ['--gpus', '0', '--loads', '1,2'], "--gpus: found '0', allowed: a whole number ≥ 1"],
    [
      'nodes that don’t divide',
      ['--gpus', '2', '--gpus-per-node', '7', '--loads', '1,2'],
      'plan: gpusPerNode: found 7, allowed: a divisor of gpus = 2',
    ],
  ])('plan: %s', (_, args, message) => {
    const { status, stdout, stderr } = epsim(['plan', '--policy', 'llep', ...args]);
    expect([status, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(stderr).toContain(message);
  });

  it.each<[string, unknown, string]>([
    ['null', null, 'found null, allowed: an object with gpus, experts and loads'],
    ['a text for GPUs', { gpus: 'two', experts: 2, loads: [1, 2] }, 'gpus: found "two", allowed: a number'],
    [
      'no GPUs',
      { experts: 2, loads: [1, 2] },
      'gpus: found nothing, allowed: a whole number ≥ 1 there, or --gpus',
    ],
    ['half a copy', { gpus: 2, loads: [1.5, 2] }, 'loads[0]: found 1.5, allowed: a whole number'],
    [
      'an unknown key',
      { gpus: 2, loads: [1, 2], gpu: 3 },
      "gpu: found unknown key 'gpu', allowed: gpus, gpusPerNode",
    ],
    [
      'counts of another shape',
      { gpus: 2, experts: 2, counts: [[1, 2]] },
      'counts: found another shape, allowed: 2',
    ],
    ['nothing to balance', { gpus: 2, experts: 2 }, 'found no counts, loads or tokens, allowed: one of them'],
  ])('plan --input: %s', (_, input, message) => {
    const file = writeJson(folder, 'layer.json', input);
    const { status, stdout, stderr } = epsim(['plan', '--policy', 'llep', '--input', file]);
    expect([status, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(stderr).toContain(`${file}: ${message}`);
  });

  it('plan: a policy that is none, or an anchor', () => {
    const plan = (policy: string) =>
      epsim(['plan', '--policy', policy, '--gpus', '2', '--loads', '1,2']).stderr;
    expect(plan('llep:alpha=-1')).toContain('--policy: alpha: found -1, allowed: a number > 0');
    expect(plan('llep:alfa=1')).toContain("--policy: alfa: found unknown key 'alfa', allowed: kind, alpha");
    expect(plan('nothing')).toContain('--policy: found "nothing", allowed: "ep", "llep"');
    expect(plan('balanced')).toContain(
      'plan: policy: found balanced, an anchor that states loads and plans nothing, allowed: ep, llep',
    );
  });

  it('diff: a file that is no whole result', () => {
    const good = writeJson(
      folder,
      'good.json',
      epsim(['run', writeJson(folder, 'small.json', small), '--format', 'json']).stdout,
    );
    const whole = JSON.parse(readFileSync(good, 'utf8')) as Result;
    const [policy] = whole.policies;
    for (const [content, message] of [
      [{ schema: 'epsim/result@1', policies: [] }, 'version: found nothing, allowed: a string'],
      [null, 'found no result, allowed: a file that epsim run'],
      [{ ...whole, policies: [] }, 'policies: found [], allowed: length ≥ 1'],
      [
        { ...whole, policies: [{ policy: { kind: 'ep' } }] },
        'policies[0].stepLatency: found nothing, allowed: an object',
      ],
      [
        { ...whole, policies: [{ ...policy, policy: { kind: 'x' } }] },
        'policies[0].policy.kind: found "x", allowed:',
      ],
      [[whole, whole], 'found 2 results side by side, allowed: a file that holds one of them'],
    ] as const) {
      const bad = writeJson(folder, 'bad-result.json', content);
      const { status, stdout, stderr } = epsim(['diff', good, bad]);
      expect([status, stdout]).toEqual([2, '']);
      expect(stderr).toContain(`${bad}: ${message}`);
    }
  });

  it('a folder that cannot be written leaves nothing behind', () => {
    const scenario = writeJson(folder, 'small.json', small);
    const blocked = join(folder, 'blocked');
    writeFileSync(blocked, 'a file');
    const { status, stdout, stderr } = epsim(['run', scenario, '--out', blocked]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('allowed: a folder that can be written');
    const locked = join(folder, 'locked');
    mkdirSync(locked);
    chmodSync(locked, 0o500);
    if (process.getuid?.() !== 0) {
      expect(epsim(['run', scenario, '--out', locked]).status).toBe(2);
      expect(readdirSync(locked)).toEqual([]);
    }
    // The steps would take hours: the place is looked at before.
    const endless = ['run', scenario, '--set', 'workload.steps=10000000', '--out'];
    expect(epsim([...endless, join(blocked, 'below')]).status).toBe(2);
    if (existsSync('/proc/self')) {
      const refused = epsim([...endless, '/proc/foo']);
      expect([refused.status, refused.stderr.trim()]).toEqual([
        2,
        '/proc/foo: found no such file or folder, allowed: a folder that can be written',
      ]);
    }
    expect(epsim(['init', join(folder, 'no/such/folder/scenario.json')]).status).toBe(2);
    expect(epsim(['trace', 'record', scenario, '--out', join(folder, 'no/trace.parquet')]).status).toBe(2);
  });
});
