import { dump } from 'npyjs';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  bytesInMemory,
  importTrace,
  MemorySink,
  readNativeTrace,
  TraceError,
  traceFormats,
  type CountTrace,
  type ImportOptions,
  type TokenTrace,
  type Trace,
} from '../../../src/routing/index.js';
import { epsim, workFolder, writeJson } from '../../cli/epsim.js';
import { torchPython } from '../../measure/torch-python.js';
import { bytesOf, shared } from '../../shared.js';
import { npzOf, safetensorsFile, TestTensor, textFile, torchFile, zipOf } from './writers.js';

type Files = Record<string, Uint8Array>;

async function imported(
  files: Files,
  options: ImportOptions = {},
  as?: string,
): Promise<{ format: string; trace: Trace; notes: string[] }> {
  const sink = new MemorySink();
  const sources = Object.entries(files).map(([name, bytes]) => bytesInMemory(bytes, name));
  const { format, header } = await importTrace(sources, sink, options, as);
  const trace = await readNativeTrace(bytesInMemory(sink.bytes()));
  expect(trace.header).toEqual(JSON.parse(JSON.stringify(header)));
  return { format, trace, notes: trace.header.notes };
}

/** Experts of a token trace, [token][layer][choice]. */
function picksOf(trace: Trace): number[][][] {
  const { header, tokens, rows } = trace as TokenTrace;
  const { experts } = rows.block(0);
  const layers = header.layerIds.length;
  return Array.from({ length: tokens }, (_, t) =>
    Array.from({ length: layers }, (_, l) => {
      const at = (t * layers + l) * header.topK;
      return [...experts.subarray(at, at + header.topK)];
    }),
  );
}

const countsOf = (trace: Trace) =>
  (trace as CountTrace).steps.map(({ layers }) => layers.map((row) => [...row]));

// Two steps of two layers on two ranks; rank 1 has one token, rank 0 has two.
function megatronFiles(change: (record: Record<string, unknown>) => object = (record) => record): Files {
  const picks = (step: number, layer: number, rank: number) =>
    Array.from({ length: rank === 0 ? 2 : 1 }, (_, t) => [step + layer, 4 + rank + t]);
  const files: Files = {};
  for (const rank of [0, 1]) {
    const records = [7, 8].flatMap((step, s) =>
      [3, 5].map((layer, l) =>
        JSON.stringify(
          change({
            step,
            stage: 'pre_dispatch',
            block: 'decoder',
            layer,
            rank,
            num_tokens: rank === 0 ? 2 : 1,
            topk: 2,
            top_indices: picks(s, l, rank),
          }),
        ),
      ),
    );
    files[`router_trace_rank${rank}.jsonl`] = textFile(records.join('\n') + '\n');
  }
  return files;
}

describe('Megatron-LM', () => {
  it('keeps tokens by step and rank of origin', async () => {
    const { format, trace, notes } = await imported(megatronFiles(), {
      experts: 8,
      model: 'm',
      phase: 'prefill',
    });
    expect(format).toBe('megatron-jsonl');
    expect(trace.header).toMatchObject({
      model: 'm',
      experts: 8,
      topK: 2,
      layerIds: [3, 5],
      gpus: 2,
      steps: 2,
    });
    const { batches } = trace as TokenTrace;
    expect([[...batches!.starts], [...batches!.source]]).toEqual([
      [0, 3, 6],
      [0, 0, 1, 0, 0, 1],
    ]);
    expect(picksOf(trace).slice(0, 4)).toEqual([
      [
        [0, 4],
        [1, 4],
      ],
      [
        [0, 5],
        [1, 5],
      ],
      [
        [0, 5],
        [1, 5],
      ],
      [
        [1, 4],
        [2, 4],
      ],
    ]);
    expect(notes).toEqual([]);
  });

  it('says that it counted the experts where nobody else does', async () => {
    const { trace, notes } = await imported(megatronFiles());
    expect(trace.header.experts).toBe(6);
    expect(notes[0]).toContain('6 experts: the largest number seen and one more');
  });

  it('makes gate weights of the logits beside it', async () => {
    // One token, one layer, three experts with logits 1, 2 and 3 in bfloat16.
    const bfloat16 = (x: number) => new Uint32Array(Float32Array.of(x).buffer)[0] >>> 16;
    const record = {
      step: 0,
      layer: 0,
      rank: 0,
      num_tokens: 1,
      topk: 2,
      top_indices: [[2, 1]],
      logits_offset: 2,
      logits_bytes: 6,
      logits_shape: [1, 3],
    };
    const logits = Uint16Array.of(0, bfloat16(1), bfloat16(2), bfloat16(3));
    const { trace } = await imported({
      'router_trace_rank0.jsonl': textFile(JSON.stringify(record)),
      'logits_rank0.bin': new Uint8Array(logits.buffer),
    });
    const sum = Math.E + Math.E ** 2 + Math.E ** 3;
    const [third, second] = (trace as TokenTrace).rows.block(0).weights!;
    expect(third).toBeCloseTo(Math.E ** 3 / sum, 6);
    expect(second).toBeCloseTo(Math.E ** 2 / sum, 6);
  });

  it.each<[string, Files, RegExp]>([
    [
      'a missing rank',
      { 'router_trace_rank1.jsonl': megatronFiles()['router_trace_rank1.jsonl'] },
      /ranks: found no rank 0/,
    ],
    [
      'an expert beyond the model',
      megatronFiles((r) => ({ ...r, top_indices: (r.top_indices as number[][]).map(() => [1, 9]) })),
      /found expert 9, allowed: 0 to 7/,
    ],
    [
      'a text for an expert',
      megatronFiles((r) => ({ ...r, top_indices: (r.top_indices as number[][]).map(() => [1, 'x']) })),
      /line 1, token 0: found expert "x"/,
    ],
    [
      'fewer rows than tokens',
      megatronFiles((r) => ({ ...r, num_tokens: 5 })),
      /found 2 rows of top_indices, allowed: num_tokens = 5/,
    ],
    [
      'other steps on another rank',
      megatronFiles((r) => ({ ...r, step: (r.step as number) + (r.rank as number) })),
      /found step 8 where rank 0 has step 7/,
    ],
    [
      'a half line',
      {
        ...megatronFiles(),
        'router_trace_rank1.jsonl': megatronFiles()['router_trace_rank1.jsonl'].slice(0, -20),
      },
      /router_trace_rank1\.jsonl, line 4: found no JSON/,
    ],
    [
      'a rank that ends early',
      {
        ...megatronFiles(),
        'router_trace_rank1.jsonl': textFile(
          new TextDecoder()
            .decode(megatronFiles()['router_trace_rank1.jsonl'])
            .split('\n')
            .slice(0, 2)
            .join('\n'),
        ),
      },
      /found its end before pass 1/,
    ],
    [
      'tokens that differ between layers',
      megatronFiles((r) =>
        r.layer === 5 && r.rank === 0 ? { ...r, num_tokens: 1, top_indices: [[1, 2]] } : r,
      ),
      /layer decoder\/5: found 1 tokens where layer decoder\/3 has 2/,
    ],
  ])('refuses %s', async (_, files, message) => {
    await expect(imported(files, { experts: 8 })).rejects.toThrow(message);
  });
});

// Physical experts 0–4 of a layer hold logical 0, 1, 2, 3 and 1 again; in the second layer 2 again.
const MAP = new TestTensor([0, 1, 2, 3, 1, 0, 1, 2, 3, 2], [2, 5], 'LongStorage');

describe('SGLang', () => {
  it('stat: rows are steps without order, empty rows are left out', async () => {
    const file = await torchFile({
      rank: 0,
      logical_count: new TestTensor(
        [1, 2, 3, 4, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 5, 6, 7, 8, 8, 7, 6, 5],
        [3, 2, 4],
      ),
      average_utilization_rate_over_window: null,
    });
    const { format, trace, notes } = await imported(
      { 'expert_distribution_recorder_1.pt': file },
      { topK: 2 },
    );
    expect(format).toBe('sglang');
    expect(trace.header).toMatchObject({
      experts: 4,
      topK: 2,
      layerIds: [0, 1],
      steps: 2,
      stepOrder: 'unknown',
    });
    expect(countsOf(trace)).toEqual([
      [
        [1, 2, 3, 4],
        [4, 3, 2, 1],
      ],
      [
        [5, 6, 7, 8],
        [8, 7, 6, 5],
      ],
    ]);
    expect(notes.join()).toContain('their order is unknown');
    expect(notes.join()).toContain('1 recorded steps without copies are left out');
  });

  it('per_pass: ranks are summed, physical experts mapped back, and the map is kept', async () => {
    const file = (rank: number, ids: number[]) =>
      torchFile({
        records: ids.map((id) => ({
          forward_pass_id: id,
          rank,
          gatherer_key: 'primary',
          global_physical_count: new TestTensor([1, 10, 2, 3, 20, 4, 5, 30, 6, id], [2, 5]),
        })),
        last_physical_to_logical_map: MAP,
      });
    const { trace } = await imported(
      { 'a_0.pt': await file(0, [1, 2]), 'a_1.pt': await file(1, [2, 1]) },
      { topK: 2 },
    );
    expect(countsOf(trace)).toEqual([
      [
        [2, 60, 4, 6],
        [8, 10, 62, 12],
      ],
      [
        [2, 60, 4, 6],
        [8, 10, 64, 12],
      ],
    ]);
    expect(trace.header.placements).toEqual([
      {
        step: 0,
        slots: [
          [0, 1, 2, 3, 1],
          [0, 1, 2, 3, 2],
        ],
      },
    ]);
  });

  const perToken = (rank: number, change: Record<string, unknown> = {}) =>
    torchFile({
      records: [
        {
          forward_pass_id: 4,
          rank,
          gatherer_key: 'primary',
          input_ids: [rank, 6, 7],
          positions: [0, 1, 0],
          extend_seq_lens: [2, 1],
          forward_mode: 1,
          // Three tokens, top 2 of 3 recorded places; the last one is padding.
          topk_ids_of_layer: new TestTensor(
            [0, 4, -1, 1, 2, -1, -1, -1, -1, 4, 0, -1, 2, 3, -1, -1, -1, -1],
            [2, 3, 3],
          ),
          ...(change as Record<string, never>),
        },
      ],
      last_physical_to_logical_map: MAP,
    });

  it('per_token: physical experts mapped back, padding left out, sequences of a prefill', async () => {
    const { trace, notes } = await imported({ 'a_0.pt': await perToken(0), 'a_1.pt': await perToken(1) });
    expect(trace.header).toMatchObject({ experts: 4, topK: 2, gpus: 2, steps: 1, phase: 'prefill' });
    expect(picksOf(trace).slice(0, 2)).toEqual([
      [
        [0, 1],
        [2, 0],
      ],
      [
        [1, 2],
        [2, 3],
      ],
    ]);
    expect([...(trace as TokenTrace).sequenceStarts!]).toEqual([0, 2, 4]);
    expect([...(trace as TokenTrace).batches!.source]).toEqual([0, 0, 1, 1]);
    expect(notes.join()).toContain('2 tokens without any expert (padding) are left out');
  });

  it('per_token: decoding has no sequences, and its phase is kept', async () => {
    const { trace } = await imported({
      'a_0.pt': await perToken(0, { forward_mode: 2, extend_seq_lens: null }),
    });
    expect((trace as TokenTrace).sequenceStarts).toBeNull();
    expect([...(trace as TokenTrace).phase!]).toEqual([1, 1]);
  });

  it('per_token: ranks that saw the same tokens are one', async () => {
    const { trace, notes } = await imported({
      'a_0.pt': await perToken(0, { input_ids: [1, 2, 3] }),
      'a_1.pt': await perToken(1, { input_ids: [1, 2, 3] }),
    });
    expect((trace as TokenTrace).tokens).toBe(2);
    expect(notes.join()).toContain('all 2 ranks recorded the same tokens');
  });

  it('runs nothing that a pickle names', async () => {
    const evil = [0x80, 2, ...textFile('cos\nsystem\nX'), 4, 0, 0, 0, ...textFile('true\x85R.')];
    const files = { 'evil.pt': await zipOf({ 'archive/data.pkl': Uint8Array.from(evil) }) };
    await expect(imported(files)).rejects.toThrow(
      /evil\.pt: data\.pkl: found the name os\.system, allowed: only torch/,
    );
  });

  it.each<[string, () => Promise<Files>, RegExp]>([
    [
      'another map in another file',
      async () => ({
        'a_0.pt': await perToken(0),
        'a_1.pt': await torchFile({
          records: [],
          last_physical_to_logical_map: new TestTensor([0, 1, 2, 3, 3, 0, 1, 2, 3, 2], [2, 5], 'LongStorage'),
        }),
      }),
      /found another physical-to-logical map/,
    ],
    [
      'a tensor beyond its storage',
      async () => ({
        'a.pt': await torchFile({ rank: 0, logical_count: new TestTensor([1, 2], [3, 2, 4]) }),
      }),
      /logical_count: found value 23 of a storage of 2/,
    ],
    [
      'a tensor that fills the memory',
      async () => ({
        'a.pt': await torchFile({ rank: 0, logical_count: new TestTensor([1], [1e5, 1e5, 4]) }),
      }),
      /found \d+ MiB, allowed: at most/,
    ],
    [
      'an expert without a slot',
      async () => ({
        'a.pt': await torchFile({
          records: [],
          last_physical_to_logical_map: new TestTensor([0, 3], [1, 2]),
        }),
      }),
      /found none|no slot of expert 1/,
    ],
    [
      'negative counts',
      async () => ({
        'a.pt': await torchFile({ rank: 0, logical_count: new TestTensor([1, -2], [1, 1, 2]) }),
      }),
      /value 1: found -2/,
    ],
    [
      'no top-k',
      async () => ({
        'a.pt': await torchFile({ rank: 0, logical_count: new TestTensor([1, 2], [1, 1, 2]) }),
      }),
      /found no top-k in the recording, allowed: --top-k/,
    ],
  ])('refuses %s', async (_, files, message) => {
    await expect(imported(await files())).rejects.toThrow(message);
  });

  it.skipIf(torchPython === null)(
    'reads what torch.save writes: strides, 64-bit numbers, big ints',
    async () => {
      const folder = workFolder();
      const script = `
import torch
count = torch.arange(24, dtype=torch.int64).reshape(2, 4, 3).transpose(1, 2)
torch.save({'rank': 2**40, 'logical_count': count, 'average_utilization_rate_over_window': 0.5}, '${folder}/a.pt')`;
      expect(spawnSync(torchPython!, ['-c', script]).status).toBe(0);
      const { trace } = await imported({ 'a.pt': readFileSync(join(folder, 'a.pt')) }, { topK: 2 });
      expect(countsOf(trace)).toEqual([
        [
          [0, 3, 6, 9],
          [1, 4, 7, 10],
          [2, 5, 8, 11],
        ],
        [
          [12, 15, 18, 21],
          [13, 16, 19, 22],
          [14, 17, 20, 23],
        ],
      ]);
    },
  );
});

const META = textFile(JSON.stringify({ num_experts: 4, num_experts_per_token: 2 }));

describe('TensorRT-LLM', () => {
  const rank = (base: number) =>
    safetensorsFile({
      '100_3': [base, 1, 0, 1],
      '100_4': [1, base, 1, 0],
      '101_3': [0, 0, 2, base],
      '101_4': [base, 0, 0, 2],
    });
  const files = { 'meta_info.json': META, 'rank0.safetensors': rank(2), 'rank1.safetensors': rank(6) };

  it('keeps counts by iteration and source rank', async () => {
    const { format, trace } = await imported(files);
    expect(format).toBe('tensorrt-llm');
    expect(trace.header).toMatchObject({ experts: 4, topK: 2, layerIds: [3, 4], gpus: 2, steps: 2 });
    expect(countsOf(trace)).toEqual([
      [
        [2, 1, 0, 1, 6, 1, 0, 1],
        [1, 2, 1, 0, 1, 6, 1, 0],
      ],
      [
        [0, 0, 2, 2, 0, 0, 2, 6],
        [2, 0, 0, 2, 6, 0, 0, 2],
      ],
    ]);
  });

  it.each<[string, Files, RegExp]>([
    ['no meta_info.json', { 'rank0.safetensors': rank(2) }, /meta_info\.json: found no such file/],
    [
      'a missing rank',
      { ...files, 'rank2.safetensors': rank(1), 'rank1.safetensors': textFile('') },
      /rank1\.safetensors: found 0 bytes/,
    ],
    [
      'a gap in the ranks',
      { 'meta_info.json': META, 'rank0.safetensors': rank(2), 'rank2.safetensors': rank(1) },
      /rank files: found no rank 1 among 2/,
    ],
    [
      'another number of ranks',
      { ...files, 'meta_info.json': textFile('{"num_experts":4,"num_experts_per_token":2,"ep_size":4}') },
      /found 2 files, allowed: one for each of ep_size = 4/,
    ],
    [
      'other experts',
      { ...files, 'meta_info.json': textFile('{"num_experts":8,"num_experts_per_token":2}') },
      /100_3: found shape \[4\], allowed: \[8\]/,
    ],
    [
      'other layers on a rank',
      { ...files, 'rank1.safetensors': safetensorsFile({ '100_3': [1, 1, 1, 1] }) },
      /found other iterations or layers/,
    ],
    [
      'a file that is cut short',
      { ...files, 'rank1.safetensors': rank(6).slice(0, -8) },
      /rank1\.safetensors: 101_4: found bytes/,
    ],
  ])('refuses %s', async (_, given, message) => {
    await expect(imported(given)).rejects.toThrow(message);
  });
});

describe('vLLM', () => {
  const map = [[0, 1, 2, 3, 0]];
  const dumpOf = (snapshots: object[]) =>
    textFile(JSON.stringify({ window_size: 10, num_logical_experts: 4, snapshots }));

  it('loads: the latest step of every snapshot, mapped back with the map that was in force', async () => {
    const { format, trace, notes } = await imported(
      {
        'loads.json': dumpOf([
          {
            step: 5,
            latest_expert_load: [[1, 2, 3, 4, 10]],
            window_expert_load: [[9, 9, 9, 9, 9]],
            physical_to_logical_map: map,
          },
          { step: 9, latest_expert_load: [[1, 2, 3, 4, 10]], physical_to_logical_map: [[3, 2, 1, 0, 1]] },
        ]),
      },
      { topK: 2 },
    );
    expect(format).toBe('vllm-load');
    expect(countsOf(trace)).toEqual([[[11, 2, 3, 4]], [[4, 13, 2, 1]]]);
    expect(trace.header.placements).toEqual([
      { step: 0, slots: map },
      { step: 1, slots: [[3, 2, 1, 0, 1]] },
    ]);
    expect(notes[0]).toContain('latest step of each snapshot');
  });

  it('loads: windows where there is nothing else, and says what they hide', async () => {
    const snapshot = { step: 5, window_expert_load: [[1, 2, 3, 4, 10]], physical_to_logical_map: map };
    const { trace, notes } = await imported({ 'loads.json': dumpOf([snapshot]) }, { topK: 2 });
    expect(countsOf(trace)).toEqual([[[11, 2, 3, 4]]]);
    expect(notes[0]).toContain('sums over windows of 10 steps');
  });

  it('routed experts: a sequence for each response, its prompt and what was generated', async () => {
    const lines = [
      { choices: [{ prompt_routed_experts: [[[0, 1]], [[2, 3]]], routed_experts: [[[4, 5]]] }] },
      {
        prompt_routed_experts: [[[1, 2]]],
        choices: [{ routed_experts: Buffer.from(dump(Uint8Array.of(3, 1), [1, 1, 2])).toString('base64') }],
      },
    ];
    const file = textFile(lines.map((line) => JSON.stringify(line)).join('\n'));
    const { format, trace } = await imported({ 'responses.jsonl': file }, { experts: 8 });
    expect(format).toBe('vllm-routed-experts');
    expect(picksOf(trace)).toEqual([[[0, 1]], [[2, 3]], [[4, 5]], [[1, 2]], [[3, 1]]]);
    expect([...(trace as TokenTrace).sequenceStarts!]).toEqual([0, 3, 5]);
    expect([...(trace as TokenTrace).phase!]).toEqual([0, 0, 1, 0, 1]);
    const pretty = textFile(JSON.stringify(lines[0], null, 2));
    expect(picksOf((await imported({ 'one.json': pretty })).trace)).toHaveLength(3);
  });

  it.each<[string, string, RegExp]>([
    ['ragged arrays', '{"routed_experts": [[[0, 1]], [[2]]]}', /rows of unequal length/],
    ['no numbers', '{"routed_experts": [[["a", "b"]]]}', /found a string/],
    [
      'an expert out of range',
      '{"routed_experts": [[[0, 9]]]}',
      /value 1: found 9, allowed: whole numbers from 0 to 7/,
    ],
    ['a text that is no base64', '{"routed_experts": "%%%"}', /no base64/],
    [
      'another number of layers',
      '{"routed_experts": [[[0, 1]]]}\n{"routed_experts": [[[0, 1], [2, 3]]]}',
      /line 2\.routed_experts: found shape \[1, 2, 2\]/,
    ],
  ])('routed experts: refuses %s', async (_, text, message) => {
    await expect(imported({ 'a.jsonl': textFile(text) }, { experts: 8 })).rejects.toThrow(message);
  });
});

/** Decode statistics of two ranks with two experts each, in a layer of four; one step, then a summary. */
function decodeStats(
  change: (rank: number, step: Record<string, unknown>) => object = (_, step) => step,
): Files {
  const line = (value: object) => JSON.stringify(value);
  return Object.fromEntries(
    [0, 1].map((rank) => [
      `expert-routing-rank-${rank}-iteration-0.jsonl`,
      textFile(
        [
          line({
            record_type: 'metadata',
            schema_version: 2,
            iteration: 0,
            global_rank: rank,
            top_k: 2,
            capture_backend: 'vllm_router',
            layers: [
              {
                layer_id: 3,
                global_num_experts: 4,
                local_expert_ids: [rank, rank + 2],
                placement_strategy: 'round_robin',
                capture_backend: 'vllm_router',
              },
            ],
          }),
          line(
            change(rank, {
              record_type: 'decode_step',
              decode_step: 0,
              num_reqs: 3,
              num_scheduled_tokens: 3,
              num_physical_tokens: 4,
              num_padding_tokens: 1,
              useful_assignments: 6,
              physical_assignments: 8,
              padding_assignments: 2,
              layers: [
                {
                  layer_id: 3,
                  capture_backend: 'vllm_router',
                  useful_route_sha256: 'aa',
                  physical_route_sha256: 'bb',
                  useful_local_assignments_per_expert: rank === 0 ? [1, 2] : [3, 0],
                  physical_local_assignments_per_expert: rank === 0 ? [2, 2] : [3, 1],
                  padding_local_assignments_per_expert: rank === 0 ? [1, 0] : [0, 1],
                },
              ],
            }),
          ),
          line({ record_type: 'summary', status: 'complete', decode_steps: 1 }),
        ].join('\n') + '\n',
      ),
    ]),
  );
}

describe("vLLM's decode statistics", () => {
  it('experts of all ranks, useful copies and padding apart', async () => {
    const { format, trace } = await imported(decodeStats());
    expect(format).toBe('vllm-decode-stats');
    expect(countsOf(trace)).toEqual([[[1, 3, 2, 0]]]);
    expect((trace as CountTrace).steps[0].padding!.map((row) => [...row])).toEqual([[1, 0, 0, 1]]);
    expect(trace.header).toMatchObject({ experts: 4, topK: 2, layerIds: [3], phase: 'decode', steps: 1 });
  });

  const only = (files: Files, rank: number) => {
    const name = `expert-routing-rank-${rank}-iteration-0.jsonl`;
    return { [name]: files[name] };
  };
  const layer = (step: Record<string, unknown>) => (step.layers as object[])[0];

  it.each<[string, Files, RegExp]>([
    ['a rank that is missing', only(decodeStats(), 0), /layer 3: found expert 1 on 0 of 1 ranks/],
    [
      'ranks with tokens of their own',
      decodeStats((rank, step) => ({
        ...step,
        layers: [{ ...layer(step), useful_route_sha256: `${rank}` }],
      })),
      /rank-1.*line 2, layers\.0: found other tokens than rank 0 saw/,
    ],
    [
      'sums that do not agree',
      decodeStats((_, step) => ({ ...step, useful_assignments: 7 })),
      /found 6 useful and 2 padding copies over all ranks, allowed: 7 and 2/,
    ],
    [
      'steps out of order',
      decodeStats((_, step) => ({ ...step, decode_step: 4 })),
      /found decode_step 4, allowed: 0/,
    ],
  ])('refuses %s', async (_, files, message) => {
    await expect(imported(files)).rejects.toThrow(message);
  });

  it('refuses a file that is cut short', async () => {
    const cut = Object.fromEntries(
      Object.entries(decodeStats()).map(([name, bytes]) => [name, bytes.slice(0, -60)]),
    );
    await expect(imported(cut)).rejects.toThrow(TraceError);
  });
});

const int = (values: number[], shape = [values.length]) => ({ data: Int32Array.from(values), shape });
/** What a rank of UltraEP's Megatron fork dumps. */
const forkRank = (r: number, change: Record<string, { data: Int32Array; shape: number[] } | string> = {}) =>
  npzOf({
    dump_version: 'mcore_ep_load_dump_v1',
    // Two layers, room for three passes of which two were recorded, two experts.
    loads: int([1 + r, 2, 3, 4, 0, 0, 5, 6, 7, 8 + r, 0, 0], [2, 3, 2]),
    layer_numbers: int([2, 4]),
    forward_counts: int([2, 2]),
    ep_group_ranks: int([0, 1]),
    ep_rank: int([r], []),
    ep_size: int([2], []),
    global_rank: int([r], []),
    num_global_physical_experts: int([2], []),
    num_local_physical_experts: int([1], []),
    ...change,
  });

describe('UltraEP', () => {
  it('Megatron fork: counts by pass and source rank', async () => {
    const files = {
      'mcore_ep_loads_rank0_1.npz': await forkRank(0),
      'mcore_ep_loads_rank1_1.npz': await forkRank(1),
    };
    const { format, trace } = await imported(files, { topK: 1 });
    expect(format).toBe('megatron-npz');
    expect(trace.header).toMatchObject({ experts: 2, layerIds: [2, 4], gpus: 2, steps: 2 });
    expect(countsOf(trace)).toEqual([
      [
        [1, 2, 2, 2],
        [5, 6, 5, 6],
      ],
      [
        [3, 4, 3, 4],
        [7, 8, 7, 9],
      ],
    ]);
  });

  it('Megatron fork: refuses what does not belong together', async () => {
    const [one, two] = [await forkRank(0), await forkRank(1)];
    await expect(imported({ 'a_rank0.npz': one }, { topK: 1 })).rejects.toThrow(
      /found 1 files, allowed: one for each of ep_size = 2/,
    );
    const other = await forkRank(1, { ep_group_ranks: int([2, 3]) });
    await expect(imported({ 'a.npz': one, 'b.npz': other }, { topK: 1 })).rejects.toThrow(
      /several EP groups/,
    );
    const spare = { 'a.npz': one, 'b.npz': two };
    await expect(imported(spare, { topK: 1, experts: 1 })).rejects.toThrow(
      /2 physical experts for 1 logical/,
    );
    const version = await forkRank(0, { dump_version: 'v9' });
    await expect(imported({ 'a.npz': version }, { topK: 1 })).rejects.toThrow(/dump_version: found v9/);
  });

  it('own traces: a step for each microbatch, chunk after chunk', async () => {
    // Microbatch 1 begins in the first chunk and ends in the second.
    const chunk = (microbatches: number[], layers: number[], first: number) =>
      npzOf(
        {
          layers: int(layers),
          microbatches: { data: BigInt64Array.from(microbatches, BigInt), shape: [microbatches.length] },
          pre_logical_loads: int(
            microbatches.flatMap((_, i) => [first + i, 1]),
            [microbatches.length, 2],
          ),
          metadata: '{}',
        },
        6,
      );
    const { format, trace } = await imported(
      {
        't.manifest.json': textFile('{"version": "ultra_ep_trace_v1"}'),
        't.chunk000001.npz': await chunk([1], [1], 50),
        't.chunk000000.npz': await chunk([0, 0, 1], [0, 1, 0], 10),
      },
      { topK: 1 },
    );
    expect(format).toBe('ultraep');
    expect(countsOf(trace)).toEqual([
      [
        [10, 1],
        [11, 1],
      ],
      [
        [12, 1],
        [50, 1],
      ],
    ]);
  });
});

describe('plain files', () => {
  it('CSV: a matrix of copies', async () => {
    const { format, trace } = await imported({ 'x.csv': textFile('3,2,1,0\n0,1,2,3\n') }, { topK: 2 });
    expect(format).toBe('csv');
    expect(countsOf(trace)).toEqual([
      [
        [3, 2, 1, 0],
        [0, 1, 2, 3],
      ],
    ]);
  });

  it('CSV: tokens by named columns, in any order of columns and layers', async () => {
    const rows = [
      'layer,token,expert_1,expert_0,sequence,weight_0,weight_1',
      '7,0,1,2,40,0.75,0.25',
      '3,0,3,0,40,0.5,0.5',
      '3,1,1,0,41,1,0',
      '7,1,2,1,41,1,0',
    ];
    const { trace } = await imported({ 'x.csv': textFile(rows.join('\n')) }, { experts: 4 });
    expect(trace.header.layerIds).toEqual([3, 7]);
    expect(picksOf(trace)).toEqual([
      [
        [0, 3],
        [2, 1],
      ],
      [
        [0, 1],
        [1, 2],
      ],
    ]);
    expect([...(trace as TokenTrace).sequenceStarts!]).toEqual([0, 1, 2]);
    expect([...(trace as TokenTrace).rows.block(0).weights!]).toEqual([0.5, 0.5, 0.75, 0.25, 1, 0, 1, 0]);
  });

  it('CSV: counts by step and source GPU', async () => {
    const rows = ['step,layer,source_gpu,expert,copies', '4,0,0,1,5', '4,0,1,0,6', '9,0,1,1,7'];
    const { trace } = await imported({ 'x.csv': textFile(rows.join('\n')) }, { topK: 1 });
    expect(trace.header).toMatchObject({ gpus: 2, steps: 2, experts: 2 });
    expect(countsOf(trace)).toEqual([[[0, 5, 6, 0]], [[0, 0, 0, 7]]]);
  });

  it('CSV: tokens with all that the native format holds', async () => {
    const rows = [
      'token,layer,expert_0,sequence,domain,phase,step,source_gpu,padding',
      '0,0,1,5,prose,prefill,10,0,false',
      '1,0,2,5,prose,decode,10,1,0',
      '2,0,3,9,code,decode,12,1,True',
    ];
    const { trace } = await imported({ 'x.csv': textFile(rows.join('\n')) }, { experts: 4 });
    const { header, sequenceStarts, sequenceDomains, phase, padding, batches } = trace as TokenTrace;
    expect(header).toMatchObject({ domains: ['code', 'prose'], gpus: 2, steps: 2 });
    expect([...sequenceStarts!, ...sequenceDomains!]).toEqual([0, 2, 3, 1, 0]);
    expect([...phase!, ...padding!]).toEqual([0, 1, 1, 0, 0, 1]);
    expect([...batches!.starts, ...batches!.source]).toEqual([0, 2, 3, 0, 1, 1]);
  });

  it('CSV: counts with padding and phases', async () => {
    const rows = [
      'step,phase,layer,expert,copies,padding_copies',
      '0,prefill,0,0,5,1',
      '0,prefill,0,1,0,2',
      '1,decode,0,1,7,0',
    ];
    const { trace } = await imported({ 'x.csv': textFile(rows.join('\n')) }, { topK: 1 });
    const { steps } = trace as CountTrace;
    expect(steps.map(({ phase, padding }) => [phase, [...padding![0]]])).toEqual([
      ['prefill', [1, 2]],
      ['decode', [0, 0]],
    ]);
    expect(countsOf(trace)).toEqual([[[5, 0]], [[0, 7]]]);
  });

  it('numpy arrays: experts or copies, as their name or --as says', async () => {
    const picks = new Uint8Array(dump(Uint8Array.of(0, 1, 2, 3, 1, 0, 3, 2), [2, 2, 2]));
    expect(picksOf((await imported({ 'topk.npy': picks })).trace)).toEqual([
      [
        [0, 1],
        [2, 3],
      ],
      [
        [1, 0],
        [3, 2],
      ],
    ]);
    const { trace } = await imported({ 'a.npy': picks }, { topK: 1 }, 'npy-counts');
    expect(countsOf(trace)).toEqual([
      [
        [0, 1],
        [2, 3],
      ],
      [
        [1, 0],
        [3, 2],
      ],
    ]);
    await expect(imported({ 'a.npy': picks })).rejects.toThrow(
      /found no recording of a known format, allowed: --as/,
    );
  });

  it('Parquet of others: nullable columns, 64-bit numbers', async () => {
    const column = (name: string, data: number[]) => ({
      name,
      data: BigInt64Array.from(data, BigInt),
      type: 'INT64' as const,
    });
    const bytes = parquetWriteBuffer({
      columnData: [
        column('token', [0, 0, 1, 1]),
        column('layer', [0, 1, 0, 1]),
        column('expert_0', [3, 1, 2, 0]),
      ],
    });
    const { format, trace } = await imported({ 'x.parquet': new Uint8Array(bytes) }, { experts: 4 });
    expect(format).toBe('parquet');
    expect(picksOf(trace)).toEqual([
      [[3], [1]],
      [[2], [0]],
    ]);
  });

  it.each<[string, string, RegExp]>([
    [
      'names of other columns',
      'a,b\n1,2',
      /columns: found a, b, allowed: token, layer, expert_0 …, or layer, expert, copies/,
    ],
    ['a cell too few', 'token,layer,expert_0\n0,0', /line 2: found 2 cells, allowed: 3/],
    ['no number', 'token,layer,expert_0\n0,0,x', /line 2, column expert_0: found NaN/],
    ['a layer too few', 'token,layer,expert_0\n0,0,1\n0,1,1\n1,0,1', /found no layer 1 of token 1/],
    ['tokens that fall', 'token,layer,expert_0\n1,0,1\n0,0,1', /line 3: found token 0 after 1/],
    ['a phase that is none', 'token,layer,expert_0,phase\n0,0,1,later', /line 2, column phase: found later/],
    ['steps without sources', 'token,layer,expert_0,step\n0,0,1,0', /columns: found step without source_gpu/],
    ['ragged counts', '1,2\n3', /line 2: found 1 numbers/],
    ['negative counts', '1,-2', /line 1: found -2 as number 1/],
    ['an empty file', '', /found an empty file/],
    ['an empty layer', '1,2\n0,0', /layer 1: found no copies/],
  ])('CSV: refuses %s', async (_, text, message) => {
    await expect(imported({ 'x.csv': textFile(text) }, { topK: 1 })).rejects.toThrow(message);
  });

  it('refuses a zip bomb: a member that unpacks to more than it says, or to more than memory holds', async () => {
    const files = { 'pre.npz': await zipOf({ 'pre_logical_loads.npy': new Uint8Array(5_000_000) }, 9) };
    const bytes = files['pre.npz'];
    expect(bytes.length).toBeLessThan(20_000);
    const claim = (size: number) => {
      const changed = Uint8Array.from(bytes);
      const view = new DataView(changed.buffer);
      for (let at = 0; at + 4 < changed.length; at++) {
        if (view.getUint32(at, true) === 5_000_000) view.setUint32(at, size, true);
      }
      return { 'pre.npz': changed };
    };
    for (const size of [100, 0x7fffffff]) {
      await expect(imported(claim(size), { topK: 1 }), String(size)).rejects.toThrow(TraceError);
    }
  });
});

/** A small recording of every format that can be damaged in interesting ways. */
const samples: [string, () => Promise<Files>][] = [
  ['megatron-jsonl', () => Promise.resolve(megatronFiles())],
  [
    'sglang',
    async () => ({
      'a.pt': await torchFile({ rank: 0, logical_count: new TestTensor([1, 2, 3, 4], [1, 2, 2]) }),
    }),
  ],
  [
    'tensorrt-llm',
    () =>
      Promise.resolve({
        'meta_info.json': META,
        'rank0.safetensors': safetensorsFile({ '1_0': [1, 2, 3, 4] }),
      }),
  ],
  [
    'vllm-load',
    () =>
      Promise.resolve({
        'l.json': textFile(
          '{"snapshots":[{"step":1,"latest_expert_load":[[1,2]],"physical_to_logical_map":[[0,1]]}]}',
        ),
      }),
  ],
  ['vllm-decode-stats', () => Promise.resolve(decodeStats())],
  [
    'vllm-routed-experts',
    () => Promise.resolve({ 'r.json': textFile('{"routed_experts":[[[0,1]],[[1,0]]]}') }),
  ],
  [
    'ultraep',
    async () => ({
      'a.npz': await npzOf(
        {
          layers: { data: Int32Array.of(0), shape: [1] },
          microbatches: { data: BigInt64Array.of(0n), shape: [1] },
          pre_logical_loads: { data: Int32Array.of(1, 2), shape: [1, 2] },
        },
        9,
      ),
    }),
  ],
  [
    'npy-counts',
    () => Promise.resolve({ 'counts.npy': new Uint8Array(dump(Int32Array.of(1, 2, 3, 4), [2, 2])) }),
  ],
  ['csv', () => Promise.resolve({ 'a.csv': textFile('token,layer,expert_0\n0,0,1\n1,0,0\n') })],
];

describe('damaged files are refused, or read as what they still are, and never end the process', () => {
  it.each(samples)('%s', async (format, make) => {
    const files = await make();
    const options = { topK: 1, experts: undefined };
    const attempt = async (damaged: Files) => {
      try {
        await imported(damaged, options, format);
      } catch (error) {
        if (!(error instanceof TraceError)) throw error;
      }
    };
    const [name] = Object.keys(files).slice(-1);
    const intact = files[name];
    const stride = Math.max(1, Math.floor(intact.length / 150));
    for (let at = 0; at < intact.length; at += stride) {
      await attempt({ ...files, [name]: intact.slice(0, at) });
      for (const value of [intact[at] ^ (1 << (at % 8)), 0xff, 0]) {
        const damaged = Uint8Array.from(intact);
        damaged[at] = value;
        await attempt({ ...files, [name]: damaged });
      }
    }
  });
});

describe('one command makes a run of a recording', () => {
  const folder = workFolder();
  const numpy = (
    values: number[],
    shape: number[],
    Kind: typeof Int32Array | typeof Uint8Array = Int32Array,
  ) => new Uint8Array(dump(Kind.from(values), shape));
  const column = (name: string, data: number[]) => ({
    name,
    data: Int32Array.from(data),
    type: 'INT32' as const,
  });
  const more: [string, () => Promise<Files>][] = [
    ['megatron-npz', async () => ({ 'a.npz': await forkRank(0), 'b.npz': await forkRank(1) })],
    ['npy-tokens', () => Promise.resolve({ 'experts.npy': numpy([0, 1, 1, 0], [2, 2, 1], Uint8Array) })],
    [
      'numpy-recording',
      () =>
        Promise.resolve({
          'a.experts.npy': numpy([0, 1, 1, 0], [2, 2, 1], Uint8Array),
          'a.seq_offsets.npy': numpy([0, 2], [2]),
          'a.meta.json': textFile(JSON.stringify({ model: 'm', experts: 2, layers: 2, topk: 1 })),
        }),
    ],
    [
      'parquet',
      () => {
        const columnData = [column('token', [0, 1]), column('layer', [0, 0]), column('expert_0', [1, 0])];
        return Promise.resolve({ 'a.parquet': new Uint8Array(parquetWriteBuffer({ columnData })) });
      },
    ],
  ];
  // Experts and top-k of the samples, where these are not 2 and 1.
  const shapes: Record<string, [number, number]> = {
    'megatron-jsonl': [8, 2],
    'tensorrt-llm': [4, 2],
    'vllm-decode-stats': [4, 2],
    'vllm-routed-experts': [2, 2],
  };

  it('of every format that there is', () => {
    expect([...samples, ...more].map(([format]) => format).sort()).toEqual(
      traceFormats.map(({ name }) => name).sort(),
    );
  });

  it.each([...samples, ...more])('%s', async (format, make) => {
    const files = await make();
    const own = join(folder, format);
    mkdirSync(own);
    const paths = Object.entries(files).map(([name, bytes]) => {
      writeFileSync(join(own, name), bytes);
      return join(own, name);
    });
    const [experts, topK] = shapes[format] ?? [2, 1];
    const sink = new MemorySink();
    const sources = Object.entries(files).map(([name, bytes]) => bytesInMemory(bytes, name));
    const { header } = await importTrace(sources, sink, { experts, topK }, format);
    const recorded = header.kind === 'counts' || header.gpus !== undefined;
    const scenario = writeJson(own, 'scenario.json', {
      model: { hiddenSize: 64, expertHiddenSize: 64, experts, topK, moeLayers: header.layerIds.length },
      cluster: { gpu: 'h100', gpus: header.gpus ?? 2 },
      workload: {
        phase: header.phase ?? 'prefill',
        layer: 'all',
        ...(recorded ? {} : { tokensPerGpu: 1, steps: 1 }),
        routing: { kind: 'trace', path: 'whatever was there.parquet' },
      },
      policies: ['llep'],
      resamples: 0,
    });
    const shape = ['--experts', String(experts), '--top-k', String(topK)];
    const out = join(own, 'out.parquet');
    const { status, stdout, stderr } = epsim([
      ...['trace', 'import', ...paths, '--as', format, ...shape],
      ...['--out', out, '--run', scenario],
    ]);
    expect(stderr).toContain(`${format}: wrote`);
    expect(status).toBe(0);
    expect(stdout).toMatch(/llep .*×/);
    expect(stdout).toContain('vs ep');
  });

  it('a scenario that is none is said before anything is written', () => {
    const out = join(folder, 'none.parquet');
    const csv = join(folder, 'a.csv');
    writeFileSync(csv, 'token,layer,expert_0\n0,0,1\n');
    const bad = writeJson(folder, 'bad.json', { model: 'gpt-oss-20b' });
    const { status, stderr } = epsim(['trace', 'import', csv, '--experts', '2', '--out', out, '--run', bad]);
    expect([status, stderr]).toEqual([2, expect.stringContaining('bad.json')]);
    expect(existsSync(out)).toBe(false);
  });
});

describe.skipIf(shared === null)('recordings of real models', () => {
  it('a numpy recording comes through as it was, with its domains', async () => {
    const parts = ['experts.npy', 'seq_offsets.npy', 'meta.json', 'counts.csv'];
    const files = Object.fromEntries(
      parts.map((part) => [
        `mmlu_dev.${part}`,
        new Uint8Array(bytesOf(`${shared}/traces/gpt-oss-20b/mmlu_dev.${part}`)),
      ]),
    );
    const { format, trace } = await imported(files);
    expect(format).toBe('numpy-recording');
    const { tokens, sequenceStarts, sequenceDomains, rows } = trace as TokenTrace;
    expect([tokens, sequenceStarts!.length, sequenceDomains!.length]).toEqual([24_028, 96, 95]);
    expect(trace.header.domains).toHaveLength(57);
    const raw = files['mmlu_dev.experts.npy'].subarray(-24_028 * 96);
    expect(Buffer.compare(rows.block(0).experts as Uint8Array, raw)).toBe(0);
  });

  it('a plain array of experts comes through as it was', async () => {
    const bytes = new Uint8Array(bytesOf(`${shared}/traces/deepseek-v2-lite/law.experts.npy`));
    const { trace } = await imported({ 'law.experts.npy': bytes }, { experts: 64 });
    expect(trace.header).toMatchObject({ topK: 6, experts: 64 });
    expect(
      Buffer.compare((trace as TokenTrace).rows.block(0).experts as Uint8Array, bytes.subarray(-8_327 * 156)),
    ).toBe(0);
  });

  it('a matrix of counts comes through as it was', async () => {
    const bytes = new Uint8Array(bytesOf(`${shared}/traces/olmoe-1b-7b/olmoe_c4.counts.csv`));
    const { trace } = await imported({ 'c4.csv': bytes }, { topK: 8 });
    const [[first]] = countsOf(trace);
    expect(first).toEqual(new TextDecoder().decode(bytes).split('\n')[0].split(',').map(Number));
  });
});
