import { fc, test } from '@fast-check/vitest';
import { strToU8, zipSync } from 'fflate';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mapFormats, readPlacementMap, type PlacementMap } from '../../src/balancing/index.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { bytesOf, shared } from '../shared.js';
import { simulateScenario } from '../simulation/random-scenario.js';

const bytes = (text: string) => new TextEncoder().encode(text).buffer;
const flat = ({ slots }: PlacementMap['layers'][number]) => ('all' in slots ? slots.all : slots.flat());

/** Two layers, two GPUs, four experts, as each engine writes them. */
const samples: [string, string][] = [
  ['sglang', '{"physical_to_logical_map": [[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 3, 3]]}'],
  ['vllm', '{"3": [0, 1, 2, 3, 0, 1], "4": [3, 2, 1, 0, 3, 3]}'],
  [
    'tensorrt-llm',
    'num_slots: 6\ninitial_global_assignments:\n  3: [0, 1, 2, 3, 0, 1]\n  4:\n  - 3\n  - 2\n  - 1\n  - 0\n  - 3\n  - 3\nlayer_updates_per_iter: 0\n',
  ],
  [
    'vllm-ascend',
    JSON.stringify({
      moe_layer_count: 2,
      layer_list: [
        [
          3,
          [
            [0, 1, 2],
            [3, 0, 1],
          ],
        ],
        [
          4,
          [
            [3, 2, 1],
            [0, 3, 3],
          ],
        ],
      ].map(([layer_id, gpus]) => ({
        layer_id,
        device_count: 2,
        // Devices may stand in any order.
        device_list: (gpus as number[][])
          .map((device_expert, device_id) => ({ device_id, device_expert }))
          .reverse(),
      })),
    }),
  ],
];

describe('placement maps of engines', () => {
  it.each(samples)('reads %s', async (_, text) => {
    const map = await readPlacementMap(bytes(text));
    expect(map.layers.map(flat)).toEqual([
      [0, 1, 2, 3, 0, 1],
      [3, 2, 1, 0, 3, 3],
    ]);
  });

  it('keeps the numbers of layers where a file says them', async () => {
    const numbers = await Promise.all(
      samples.map(async ([, text]) => (await readPlacementMap(bytes(text))).layers.map(({ layer }) => layer)),
    );
    expect(numbers).toEqual([
      [0, 1],
      [3, 4],
      [3, 4],
      [3, 4],
    ]);
  });

  const mapArbitrary = fc
    .record({ gpus: fc.integer({ min: 1, max: 4 }), perGpu: fc.integer({ min: 1, max: 4 }) })
    .chain(({ gpus, perGpu }) =>
      fc.array(
        fc.array(fc.array(fc.nat(300), { minLength: perGpu, maxLength: perGpu }), {
          minLength: gpus,
          maxLength: gpus,
        }),
        { minLength: 1, maxLength: 3 },
      ),
    );
  test.prop([mapArbitrary, fc.constantFrom(...mapFormats)])(
    'what a format writes it reads again',
    async (layers, format) => {
      const map = { experts: null, layers: layers.map((slots, layer) => ({ layer, slots })) };
      const read = await readPlacementMap(bytes(format.write(map)));
      expect(read.layers.map(flat)).toEqual(map.layers.map(flat));
      expect(read.layers.map(({ layer }) => layer)).toEqual(map.layers.map(({ layer }) => layer));
    },
  );

  it('only vllm-ascend can say that GPUs have different numbers of slots', async () => {
    const map = { experts: null, layers: [{ layer: 0, slots: [[0, 1, 2], [3]] }] };
    for (const format of mapFormats) {
      if (format.name === 'vllm-ascend') {
        expect((await readPlacementMap(bytes(format.write(map)))).layers[0].slots).toEqual([[0, 1, 2], [3]]);
      } else {
        expect(() => format.write(map)).toThrow('layer 0: found 1 to 3 slots per GPU, allowed: equally many');
      }
    }
  });

  it.each([
    ['hello', /^found "hello", allowed: a map of sglang, vllm/],
    ['{"physical_to_logical_map": 7}', /^physical_to_logical_map: found 7, allowed: a list/],
    [
      '{"physical_to_logical_map": [[0, -1]]}',
      /^physical_to_logical_map\[0\]\[1\]: found -1, allowed: a whole/,
    ],
    ['{"0": [0, 1.5]}', /^0\[1\]: found 1.5, allowed: a whole number/],
    ['num_slots: 3\ninitial_global_assignments:\n  0: [0, 1]\n', /found 2 slots, allowed: num_slots = 3/],
    ['{"layer_list": [{"layer_id": 0}]}', /^layer_list\[0\]: found {"layer_id":0}, allowed: an object with/],
    ['{"layer_list": [{"layer_id": 0, "device_list": [{"device_id": 0}]}]}', /device_expert: found nothing/],
    ['{ not json', /^found .*JSON.*, allowed: JSON or YAML$/],
    ['a: &a [1]\nb: *a\n', /allowed: JSON or YAML$/],
    ['PK not a zip', /^found no zip archive/],
  ])('says what is wrong with %s', async (text, message) => {
    await expect(readPlacementMap(bytes(text))).rejects.toThrow(message);
  });

  it('says which array an archive lacks', async () => {
    const archive = zipSync({ 'other.npy': strToU8('x') });
    await expect(readPlacementMap(archive.slice().buffer)).rejects.toThrow(
      'placement.npy: found other.npy, allowed: placement.npy and shape.npy',
    );
  });
});

const folder = shared === null ? null : join(shared, 'traces/placements-deepseek-v3');

describe.skipIf(folder === null)('placements of DeepSeek-V3 (omni-infer)', () => {
  const files = folder === null ? [] : readdirSync(folder).filter((name) => name.endsWith('.npz'));

  it.each(files)('%s: every layer holds every expert, no GPU one twice', async (file) => {
    const map = await readPlacementMap(bytesOf(join(folder!, file)));
    expect(map.experts).toBe(256);
    expect(map.layers.length).toBe(58);
    for (const layer of map.layers) {
      expect(new Set(flat(layer)).size).toBe(256);
      for (const own of layer.slots as number[][]) expect(new Set(own).size).toBe(own.length);
    }
  });

  it('there are maps whose GPUs differ in slots, and dispatch rules work on them', async () => {
    const maps = await Promise.all(
      files.map(async (file) => ({ file, map: await readPlacementMap(bytesOf(join(folder!, file))) })),
    );
    const uneven = maps.find(({ map }) =>
      map.layers.some(({ slots }) => new Set((slots as number[][]).map((own) => own.length)).size > 1),
    );
    expect(uneven).toBeDefined();
    const gpus = (uneven!.map.layers[0].slots as number[][]).length;
    const path = join(folder!, uneven!.file);
    const scenario: ScenarioInput = {
      model: 'deepseek-v3',
      cluster: { gpu: 'h200', gpus, gpusPerNode: Math.min(8, gpus) },
      workload: {
        phase: 'decode',
        tokensPerGpu: 16,
        steps: 2,
        layer: 20,
        routing: { kind: 'log-normal', sigma: 1, redraw: 'run' },
      },
      policies: (['even', 'lp', 'fewest-active'] as const).map((dispatch) => ({
        kind: 'combination',
        placement: { kind: 'file', path },
        dispatch,
      })),
    };
    const slots = flat(uneven!.map.layers[20]);
    await simulateScenario(scenario, ({ plan, options }) => {
      if (options.kind === 'combination') expect([...plan!.placement.slotExpert]).toEqual([...slots]);
    });
  });
});
