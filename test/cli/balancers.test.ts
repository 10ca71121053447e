/** Free choices, maps and refusals as a user meets them on the command line. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { epsim, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();

describe('epsim plan --emit', () => {
  const loads = ['--gpus', '4', '--loads', '60,4,8,8,4,4,6,6'];

  it('writes one layer’s placement as an engine’s map', () => {
    const { status, stdout } = epsim(['plan', '--policy', 'ep', ...loads, '--emit', 'sglang']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ physical_to_logical_map: [[0, 1, 2, 3, 4, 5, 6, 7]] });
  });

  it('writes a scenario’s layers, and the map is the placement of another run with as good a result', () => {
    const scenario = {
      ...small,
      workload: { ...small.workload, layer: 'all' },
      policies: ['eplb'],
    };
    const file = writeJson(folder, 'emit.json', scenario);
    for (const [engine, name] of [
      ['sglang', 'map.json'],
      ['tensorrt-llm', 'map.yaml'],
      ['vllm', 'layers.json'],
      ['vllm-ascend', 'ascend.json'],
    ]) {
      const { status, stdout } = epsim(['plan', file, '--policy', 'eplb', '--emit', engine]);
      expect(status).toBe(0);
      writeFileSync(join(folder, name), stdout);
      const replay = writeJson(folder, 'replay.json', {
        ...scenario,
        policies: [
          'eplb',
          { kind: 'combination', placement: { kind: 'file', path: name }, dispatch: 'even' },
        ],
      });
      const result = JSON.parse(epsim(['run', replay, '--format', 'json']).stdout) as {
        policies: {
          stepLatency: { mean: number };
          imbalance: { gpu: { after: { maxOverMean: number } } };
          policy: { kind: string };
        }[];
      };
      const [planned, loaded] = result.policies;
      expect(loaded.policy.kind).toBe('combination');
      // A file does not say in which order replicas were made: odd copies go to others of an expert's instances.
      expect(loaded.stepLatency.mean / planned.stepLatency.mean).toBeCloseTo(1, 3);
      expect(loaded.imbalance.gpu.after.maxOverMean).toBeCloseTo(planned.imbalance.gpu.after.maxOverMean, 2);
    }
  });

  it('plans once for policies that plan as steps go by, and says so', () => {
    const skewed = ['--gpus', '2', '--loads', '90,2,2,2'];
    const policy = '{"kind":"sglang","slots":6}';
    const { stdout, stderr, status } = epsim(['plan', '--policy', policy, ...skewed, '--emit', 'sglang']);
    expect(status).toBe(0);
    const [slots] = (JSON.parse(stdout) as { physical_to_logical_map: number[][] }).physical_to_logical_map;
    // The two spare slots are the hot expert's.
    expect(slots.filter((expert) => expert === 0)).toHaveLength(3);
    expect(stderr).toContain('sglang plans as steps go by');
    const llep = epsim(['plan', '--policy', 'llep', ...skewed, '--emit', 'sglang']);
    expect(llep.stderr).toContain('llep decides batch by batch: this is the placement that it starts from');
    // How copies are dispatched is not in a map, so that tokens are not asked for.
    expect(epsim(['plan', '--policy', 'vllm', ...skewed, '--emit', 'vllm']).status).toBe(0);
  });

  it('numbers layers as the engine does: of three dense and four MoE layers, SGLang wants seven rows', () => {
    const scenario = {
      ...small,
      model: { ...small.model, moeLayers: 4, denseLayers: 3 },
      workload: { ...small.workload, layer: 'all' },
      policies: ['eplb'],
    };
    const file = writeJson(folder, 'dense.json', scenario);
    const emit = (path: string, policy: string, engine: string) =>
      epsim(['plan', path, '--policy', policy, '--emit', engine]).stdout;
    const text = emit(file, 'eplb', 'sglang');
    const rows = (JSON.parse(text) as { physical_to_logical_map: number[][] }).physical_to_logical_map;
    expect(rows).toHaveLength(7);
    for (const row of rows.slice(0, 3)) expect(row).toEqual(row.map((_, slot) => slot % 8));
    expect(new Set(rows.map((row) => row.join())).size).toBeGreaterThan(3);
    expect(
      emit(file, 'eplb', 'tensorrt-llm')
        .match(/^ {2}\d+(?=:)/gm)!
        .map(Number),
    ).toEqual([3, 4, 5, 6]);
    const ascend = JSON.parse(emit(file, 'eplb', 'vllm-ascend')) as { layer_list: { layer_id: number }[] };
    expect(ascend.layer_list.map(({ layer_id }) => layer_id)).toEqual([0, 1, 2, 3]);
    // What is read back is what was written, layer for layer, and for one layer alone too.
    for (const [engine, name] of [
      ['sglang', 'dense-map.json'],
      ['tensorrt-llm', 'dense-map.yaml'],
      ['vllm', 'dense-vllm.json'],
      ['vllm-ascend', 'dense-ascend.json'],
    ]) {
      writeFileSync(join(folder, name), emit(file, 'eplb', engine));
      const loaded = JSON.stringify({
        kind: 'combination',
        placement: { kind: 'file', path: name },
        dispatch: 'even',
      });
      expect(emit(file, loaded, 'sglang'), engine).toBe(text);
      const alone = writeJson(folder, 'dense-alone.json', {
        ...scenario,
        workload: { ...small.workload, layer: 3 },
      });
      const [, , , , , , sixth] = (
        JSON.parse(emit(alone, loaded, 'sglang')) as { physical_to_logical_map: number[][] }
      ).physical_to_logical_map;
      expect(sixth, engine).toEqual(rows[6]);
    }
  });

  it('of loads alone, every source GPU has an equal part', () => {
    const everywhere =
      '{"kind":"combination","placement":{"kind":"contiguous","slots":4},"dispatch":"nearest"}';
    const { stdout } = epsim(['plan', '--policy', everywhere, '--gpus', '2', '--loads', '10,6']);
    expect(stdout).toContain('copies per GPU: 8, 8');
  });

  it.each<[string, string[], string]>([
    [
      'an engine that is none',
      ['--policy', 'ep', ...loads, '--emit', 'triton'],
      'Allowed choices are sglang, vllm',
    ],
    ['a scenario without --emit', ['emit.json', '--policy', 'eplb'], 'allowed: --emit sglang | vllm'],
    [
      'GPUs with different numbers of slots',
      [
        '--policy',
        '{"kind":"combination","placement":{"kind":"contiguous","slots":9}}',
        ...loads,
        '--emit',
        'vllm',
      ],
      'plan: layer 0: found 2 to 3 slots per GPU, allowed: equally many, or --emit vllm-ascend',
    ],
  ])('refuses %s', (_, args, message) => {
    const { status, stdout, stderr } = epsim(['plan', ...args], { cwd: folder });
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
  });
});

it('says that replicas are idle where every copy goes to its home', () => {
  const choices = (dispatch: string) => ({
    kind: 'combination',
    placement: { kind: 'eplb', slots: 12 },
    dispatch,
  });
  const notesOf = (dispatch: string) => {
    const file = writeJson(folder, 'idle.json', { ...small, policies: [choices(dispatch)] });
    const { stdout } = epsim(['run', file, '--format', 'json']);
    return (JSON.parse(stdout) as { routing: { notes: string[] } }).routing.notes.join('\n');
  };
  expect(notesOf('home')).toContain(
    'combination, dispatch home: the 4 slots beyond one per expert compute nothing',
  );
  expect(notesOf('even')).not.toContain('compute nothing');
});

describe('what a combination may not be', () => {
  it.each<[string, object, string]>([
    [
      'slots beside a placement that only reorders',
      { placement: { kind: 'eplb', reorderOnly: true }, slots: 12 },
      'slots: found 12 beside placement.reorderOnly, allowed: one of them',
    ],
    [
      'two numbers of slots',
      { placement: { kind: 'eplb', slots: 12 }, slots: 16 },
      'slots: found 16 beside placement.slots: 12, allowed: one of them',
    ],
    [
      'a placement that is none',
      { placement: 'eplp' },
      'policies[0].placement: found "eplp", allowed: "contiguous", "round-robin", "eplb"',
    ],
    [
      'an option of another rule',
      { placement: { kind: 'round-robin', groups: 2 } },
      "policies[0].placement.groups: found unknown key 'groups', allowed: kind, slots",
    ],
    [
      'slots that GPUs can’t share',
      { placement: { kind: 'eplb', slots: 9 } },
      'policies[0].placement.slots: found 9 on 4 GPUs, allowed: a multiple of 4 (slots: 12)',
    ],
    [
      'a movement of nothing',
      { movement: 'async' },
      'policies[0].movement: found async, where nothing moves: placements are made once, before the run, allowed: null',
    ],
    [
      'tokens where there are none',
      { dispatch: 'flat-position' },
      'policies[0].dispatch: found flat-position, but the routing holds counts without tokens',
    ],
    [
      'a file that is no map',
      { placement: { kind: 'file', path: 'small.json' } },
      'small.json: found {"name":"small"',
    ],
    [
      'a map for other GPUs',
      { placement: { kind: 'file', path: 'other.json' } },
      'policies[0].placement.path: found other.json, a map for 2 GPUs, allowed: a map for 4, or cluster.gpus: 2',
    ],
    [
      'a map without an expert',
      { placement: { kind: 'file', path: 'hole.json' } },
      'policies[0].placement.path: found hole.json, without expert 7 in layer 0, allowed: a slot for every expert',
    ],
  ])('%s', (_, change, message) => {
    writeJson(folder, 'small.json', small);
    writeJson(folder, 'hole.json', { physical_to_logical_map: [[0, 1, 2, 3, 4, 5, 6, 0]] });
    writeJson(folder, 'other.json', {
      layer_list: [
        {
          layer_id: 0,
          device_list: [
            { device_id: 0, device_expert: [0, 1, 2, 3] },
            { device_id: 1, device_expert: [4, 5, 6, 7] },
          ],
        },
      ],
    });
    const file = writeJson(folder, 'bad.json', { ...small, policies: [{ kind: 'eplb', ...change }] });
    const { status, stdout, stderr } = epsim(['run', file, '--out', join(folder, 'out')]);
    expect([status, stdout, stderr.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(stderr).toContain(message);
    expect(existsSync(join(folder, 'out'))).toBe(false);
  });
});

describe('epsim list', () => {
  it.each([
    [
      'placements',
      ['contiguous', 'round-robin', 'eplb', 'eplb-steps', 'tensorrt-llm', 'ascend-default', 'file'],
    ],
    ['dispatch', ['home', 'even', 'flat-position', 'lp', 'fewest-active']],
    ['movement', ['blocking', 'chunked', 'async', 'free']],
    ['history', ['calibration', 'window', 'decay', 'oracle']],
  ])('%s: a line for each', (what, names) => {
    const { stdout } = epsim(['list', what]);
    for (const name of names) expect(stdout).toMatch(new RegExp(`^ {2}${name} +\\S`, 'm'));
  });
});
