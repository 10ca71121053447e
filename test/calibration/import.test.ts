import { describe, expect, it } from 'vitest';
import {
  importTable,
  joinMeasurements,
  MeasurementError,
  measurementsText,
  readMeasurements,
  type ImportOptions,
  type Measurements,
} from '../../src/calibration/index.js';
import { readText } from '../../src/files/index.js';
import { shared } from '../shared.js';
import { deepepInternode, deepepIntranode, deepepLowLatency, ncclTests } from './import-samples.js';

type Row = Measurements['rows'][number];

const MOE =
  'framework,version,device,kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,' +
  'moe_tp_size,moe_ep_size,distribution,latency';
const moe = (over: Record<string, string | number> = {}) => {
  const row = {
    ...{ framework: 'TRTLLM', version: '1.3.0rc20', device: 'NVIDIA H200', kernel: 'cutlass' },
    ...{ dtype: 'fp8_block', tokens: 16384, hidden: 7168, inter: 2048, topk: 8, experts: 256 },
    ...{ tp: 1, ep: 8, distribution: 'balanced', latency: 2.499, ...over },
  };
  return Object.values(row).join(',');
};
const table = (head: string, ...rows: string[]) => `${[head, ...rows].join('\n')}\n`;
const two = [moe(), moe({ tokens: 8192, latency: 1.3 })];

const NCCL = 'framework,version,device,op_name,kernel_source,nccl_dtype,num_gpus,message_size,latency';
const nccl = (op: string, dtype: string, gpus: number, size: number, latency: number | string) =>
  `TRTLLM,2.29.2,NVIDIA H100,${op},NCCL,${dtype},${gpus},${size},${latency}`;

const LOW =
  'framework,version,device,op_name,kernel_source,node_num,hidden_size,num_token,num_topk,num_experts,' +
  'combine_avg_t_us,combine_bandwidth_gbps,dispatch_avg_t_us,dispatch_bandwidth_gbps';
const NORMAL =
  'framework,version,device,op_name,node_num,kernel_source,hidden_size,num_token,num_topk,num_experts,' +
  'dispatch_sms,dispatch_transmit_us,dispatch_notify_us,combine_sms,combine_transmit_us,combine_notify_us';
const normal = (nodes: number, tokens: number) =>
  `sglang,0.5.0,NVIDIA H100,normal,${nodes},deepep,7168,${tokens},8,256,20,400,30,24,800,50`;

function one(text: string, options: Partial<ImportOptions> = {}): Measurements {
  const [measurements, ...more] = importTable(text, { file: 'x.csv', ...options });
  expect(more).toEqual([]);
  // What is written is what can be read.
  expect(readMeasurements(JSON.parse(measurementsText(measurements)), 'm.json')).toEqual(measurements);
  return measurements;
}

function notesOf(text: string, options: Partial<ImportOptions> = {}): string[] {
  const notes: string[] = [];
  one(text, { ...options, onNote: (note) => notes.push(note) });
  return notes;
}

function refusal(text: string, options: Partial<ImportOptions> = {}): string {
  try {
    importTable(text, { file: 'x.csv', ...options });
  } catch (error) {
    expect(error).toBeInstanceOf(MeasurementError);
    return (error as Error).message;
  }
  throw new Error('it was taken');
}

describe('aiconfigurator tables of MoE layers', () => {
  it('become rows with the kernel, its versions and its scaling in the name', () => {
    const { source, device, software, rows } = one(table(MOE, ...two, moe({ dtype: 'fp8' })));
    expect(source).toEqual({ name: 'ai-dynamo/aiconfigurator', version: 'unknown', licence: 'Apache-2.0' });
    expect([device, software]).toEqual([{ name: 'NVIDIA H200', kind: 'gpu' }, { TRTLLM: '1.3.0rc20' }]);
    expect(rows).toHaveLength(3);
    expect(rows[0]).toEqual({
      op: 'moe-layer',
      kernel: 'TRTLLM 1.3.0rc20 cutlass fp8_block',
      weightDtype: 'fp8',
      activationDtype: 'fp8',
      tokens: 16384,
      hiddenSize: 7168,
      expertHiddenSize: 2048,
      experts: 256,
      topK: 8,
      tensorParallel: 1,
      expertParallel: 8,
      distribution: 'balanced',
      seconds: 2.499e-3,
      spread: null,
      repeats: null,
    });
    expect(rows[2]).toMatchObject({ kernel: 'TRTLLM 1.3.0rc20 cutlass fp8', weightDtype: 'fp8' });
  });

  it.each([
    ['bfloat16', 'bf16', 'bf16'],
    ['int4_wo', 'int4', 'bf16'],
    ['w4a16_mxfp4', 'mxfp4', 'bf16'],
  ])('%s is weights of %s and activations of %s', (dtype, weightDtype, activationDtype) => {
    const { rows } = one(table(MOE, moe({ dtype }), moe({ dtype, distribution: 'power_law_1.2' })));
    expect(rows[1]).toMatchObject({ weightDtype, activationDtype, distribution: 'power_law_1.2' });
  });

  it('average repeats of a row, and count them', () => {
    const { rows } = one(table(MOE, ...two, moe({ latency: 2.501 })));
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({ repeats: 2 });
    expect(rows[0]).toHaveProperty('seconds', expect.closeTo(2.5e-3, 12));
  });

  it('lose the shape that vLLM’s grouped top-k corrupts, with a note', () => {
    const vllm = [1024, 2048].map((hidden) => moe({ framework: 'VLLM', hidden }));
    const text = table(MOE, moe({ framework: 'VLLM' }), ...vllm);
    expect(one(text).rows).toHaveLength(2);
    expect(notesOf(text)).toEqual([
      expect.stringContaining("1 rows of vLLM's 7168 × 2048 with 256 experts left out"),
    ]);
    expect(refusal(table(MOE, moe({ framework: 'VLLM' }), moe({ framework: 'VLLM', ep: 4 })))).toContain(
      'found no row that can be used',
    );
  });

  it('that are another GPU’s than the file’s name says are taken as theirs, with a note', () => {
    const file = 'systems/data/h100_sxm/moe.csv';
    expect(notesOf(table(MOE, ...two), { file })).toEqual([
      "the file's name says h100, its device column NVIDIA H200: taken as NVIDIA H200",
    ]);
    expect(notesOf(table(MOE, ...two), { file: 'h200_moe.csv' })).toEqual([]);
  });

  it.each<[string, string, string]>([
    ['nothing', '', 'x.csv: found an empty file, allowed: measurements'],
    ['a header alone', `${MOE}\n`, 'found no row that can be used, allowed: at least 2 rows'],
    ['one row', table(MOE, moe()), 'found one row only, allowed: at least 2 rows'],
    [
      'a missing column',
      table(MOE.replace(',topk', ''), moe()),
      'x.csv: line 1: found no column topk, allowed: a table with the columns framework, version',
    ],
    ['a short line', table(MOE, moe(), 'TRTLLM,1.3'), 'x.csv: line 3: found 2 cells, allowed: 14'],
    [
      'an unknown dtype',
      table(MOE, moe(), moe({ dtype: 'nvfp8' })),
      "x.csv: line 3, column moe_dtype: found 'nvfp8', allowed: bfloat16, fp8, fp8_block",
    ],
    ['a key of every object', table(MOE, ...two, moe({ dtype: 'toString' })), "found 'toString'"],
    [
      'a negative time',
      table(MOE, moe(), moe({ latency: -1 })),
      'x.csv: line 3, column latency: found -1, allowed: a time above 0',
    ],
    ['no time', table(MOE, moe(), moe({ latency: 0 })), 'found 0, allowed: a time above 0'],
    ['NaN', table(MOE, moe(), moe({ latency: 'NaN' })), 'found NaN, allowed: a time above 0'],
    ['an empty cell', table(MOE, moe(), moe({ latency: '' })), 'column latency: found an empty cell'],
    [
      'half a token',
      table(MOE, moe(), moe({ tokens: 0.5 })),
      'column num_tokens: found 0.5, allowed: a whole number of at least 1',
    ],
    [
      'another law',
      table(MOE, moe(), moe({ distribution: 'uniform' })),
      "column distribution: found 'uniform', allowed: balanced, or power_law_ with its exponent",
    ],
    [
      'two devices',
      table(MOE, moe(), moe({ device: 'NVIDIA H100' })),
      "line 3, column device: found 'NVIDIA H100' after 'NVIDIA H200', allowed: one device in a file",
    ],
    [
      'µs for ms',
      table(MOE, moe({ latency: 2499 }), moe({ latency: 2501, ep: 4 })),
      'x.csv: column latency: found times that make the median row run at 1/',
    ],
    [
      's for ms',
      table(MOE, moe({ latency: 0.0025 }), moe({ latency: 0.0026, ep: 4 })),
      'times of the speed of the fastest GPU known, allowed: times in ms',
    ],
    ['something else', 'a,b\n1,2\n', "x.csv: line 1: found 'a,b', which starts no known format, allowed:"],
  ])('refuse %s', (_, text, message) => {
    expect(refusal(text)).toContain(message);
  });
});

describe('aiconfigurator tables of NCCL', () => {
  const text = table(
    NCCL,
    nccl('alltoall', 'half', 8, 268435456, 1.49),
    nccl('all_gather', 'int8', 2, 1024, 0.01),
    nccl('reduce_scatter', 'int8', 4, 1024, 0.01),
    nccl('all_reduce', 'int8', 8, 1024, 0.01),
  );

  it('count sizes in elements', () => {
    const { rows, software } = one(text);
    expect(software).toEqual({ NCCL: '2.29.2' });
    expect(rows[0]).toEqual({
      op: 'collective',
      kernel: 'NCCL 2.29.2 half',
      collective: 'all-to-all',
      gpus: 8,
      gpusPerNode: 8,
      bytes: 512 * 2 ** 20,
      seconds: 1.49e-3,
      spread: null,
      repeats: null,
    });
    expect(rows.map((row) => 'collective' in row && row.collective)).toEqual([
      'all-to-all',
      'all-gather',
      'reduce-scatter',
      'all-reduce',
    ]);
    expect(rows[1]).toMatchObject({ gpus: 2, gpusPerNode: 2, bytes: 1024 });
    expect(one(text, { gpusPerNode: 4 }).rows[0]).toMatchObject({ gpus: 8, gpusPerNode: 4 });
  });

  it('refuse what they should not hold', () => {
    expect(refusal(text, { gpusPerNode: 3 })).toContain('column num_gpus: found 8 GPUs in nodes of 3');
    expect(refusal(table(NCCL, ...Array<string>(2).fill(nccl('broadcast', 'half', 8, 1, 1))))).toContain(
      "column op_name: found 'broadcast', allowed: alltoall, all_gather",
    );
    expect(
      refusal(table(NCCL, ...Array<string>(2).fill(nccl('alltoall', 'half', 8, 2 ** 28, 1490)))),
    ).toContain('column latency: found times that make the median row run at 1/');
    expect(refusal(text, { as: 'aiconfigurator-moe' })).toContain('line 1: found no column moe_dtype');
  });
});

describe('aiconfigurator tables of DeepEP', () => {
  it('give a dispatch and a combine per row', () => {
    const line = (tokens: number) => `sglang,0.5.12,NVIDIA H100,ll,deepep,2,7168,${tokens},8,256,67,9,37,9`;
    const { rows } = one(table(LOW, line(128), line(64)));
    expect(rows).toHaveLength(4);
    expect(rows[0]).toEqual({
      op: 'token-exchange',
      kernel: 'sglang 0.5.12 deepep',
      mode: 'low-latency',
      direction: 'dispatch',
      nodes: 2,
      gpusPerNode: 8,
      hiddenSize: 7168,
      tokensPerGpu: 128,
      topK: 8,
      experts: 256,
      sms: null,
      seconds: 37e-6,
      spread: null,
      repeats: null,
    });
    expect(rows[1]).toMatchObject({ direction: 'combine', seconds: 67e-6 });
    expect(one(table(LOW, line(128), line(64)), { gpusPerNode: 4 }).rows[0]).toMatchObject({
      gpusPerNode: 4,
    });
  });

  it('add up transmission and notification, and leave out normal mode at 8 nodes', () => {
    const text = table(NORMAL, normal(2, 1024), normal(4, 1024), normal(8, 1024));
    const { rows } = one(text);
    expect(rows).toHaveLength(4);
    expect(rows[0]).toMatchObject({ mode: 'normal', direction: 'dispatch', sms: 20 });
    expect(rows[0]).toHaveProperty('seconds', expect.closeTo(430e-6, 12));
    expect(rows[1]).toMatchObject({ direction: 'combine', sms: 24 });
    expect(notesOf(text)).toEqual([expect.stringContaining('1 rows of normal mode at 8 nodes left out')]);
  });
});

describe('output of nccl-tests', () => {
  it('gives the times out of place, of the GPUs and nodes that it lists', () => {
    const { rows, device, software, source } = one(ncclTests());
    expect([device.name, software, source]).toEqual([
      'NVIDIA H100 80GB HBM3',
      { NCCL: '2.30.3+cuda13.0' },
      { name: 'nccl-tests', version: '2.18.3', licence: 'own' },
    ]);
    expect(rows).toEqual([
      {
        op: 'collective',
        kernel: 'NCCL 2.30.3+cuda13.0 float',
        collective: 'all-to-all',
        gpus: 4,
        gpusPerNode: 2,
        bytes: 1048576,
        seconds: 71.44e-6,
        spread: null,
        repeats: 20,
      },
      expect.objectContaining({ bytes: 268435456, seconds: expect.closeTo(99272e-6, 12) as number }),
    ]);
  });

  it('is read through mpirun’s marks, and from programs that leave redop and root blank', () => {
    const marked = ncclTests().replace(/^/gm, '[1,0]<stdout>:');
    expect(one(marked).rows).toEqual(one(ncclTests()).rows);
    const blank = ncclTests()
      .replace(/none {6}-1/g, ' '.repeat(12))
      .replace(/ N\/A/g, '   0');
    expect(one(blank).rows).toEqual(one(ncclTests()).rows);
  });

  it('of each program is its collective', () => {
    for (const [program, collective] of [
      ['all_gather', 'all-gather'],
      ['reduce_scatter', 'reduce-scatter'],
      ['all_reduce', 'all-reduce'],
    ]) {
      expect(one(ncclTests().replaceAll('alltoall', program)).rows[0]).toMatchObject({ collective });
    }
    const nameless = ncclTests().replace(/^# Collective.*\n/gm, '');
    expect(refusal(nameless)).toBe(
      'x.csv: found nothing that says which collective was timed, allowed: the option --collective that says it',
    );
    expect(one(nameless, { collective: 'all-reduce' }).rows[0]).toMatchObject({ collective: 'all-reduce' });
    expect(refusal(ncclTests(), { collective: 'all-reduce' })).toContain(
      '--collective: found all-reduce, allowed: all-to-all, as the file says',
    );
  });

  it.each<[string, (text: string) => string, string]>([
    ['another program', (text) => text.replaceAll('alltoall', 'sendrecv'), 'found a row of sendrecv_perf'],
    ['ranks that run alone', (text) => text.replace('Rank  1', 'Rank  0'), 'line 6: found rank 0 twice'],
    ['two devices', (text) => text.replace('NVIDIA H100', 'NVIDIA H200'), 'allowed: one device in a file'],
    ['two groups', (text) => text.replace('Group  0', 'Group  1'), 'found 2 groups that run at once'],
    ['uneven nodes', (text) => text.replace(/# {2}Rank {2}3.*\n/, ''), 'found nodes of 2 and 1 GPUs'],
    ['no ranks', (text) => text.replace(/# {2}Rank.*\n/g, ''), 'found a row before any line # Rank'],
    ['times in ms', (text) => text.replace('(us)', '(ms)').replace('(us)', '(ms)'), 'allowed: times in (us)'],
    ['wrong results', (text) => text.replace('13.76       0', '13.76      12'), 'found 12 wrong values'],
    ['no time', (text) => text.replace('71.44', ' 0.00'), 'found time 0.00, allowed: a time above 0'],
    ['a time that cannot be', (text) => text.replace('71.44', '7.144'), 'beside algbw 14.68 GB/s'],
    ['a line cut short', (text) => text.slice(0, text.indexOf('99272') + 5), 'a line that was not cut short'],
    ['the host’s time', (text) => text.replaceAll('    time', ' cputime'), 'found no column time'],
  ])('with %s is refused', (_, change, message) => {
    expect(refusal(change(ncclTests()))).toContain(message);
  });
});

describe('logs of DeepEP’s tests', () => {
  const across = { device: 'NVIDIA H800', nodes: 2, experts: 256 };

  it('across nodes give the best times, the notification included', () => {
    const { rows, device } = one(deepepInternode, across);
    expect(device.name).toBe('NVIDIA H800');
    expect(rows).toHaveLength(3);
    expect(rows[0]).toEqual({
      op: 'token-exchange',
      kernel: 'DeepEP FP8',
      mode: 'normal',
      direction: 'dispatch',
      nodes: 2,
      gpusPerNode: 8,
      hiddenSize: 7168,
      tokensPerGpu: 4096,
      topK: 8,
      experts: 256,
      sms: 24,
      seconds: expect.closeTo(1035e-6, 12) as number,
      spread: null,
      repeats: null,
    });
    expect(rows[1]).toMatchObject({ kernel: 'DeepEP BF16', direction: 'dispatch' });
    expect(rows[2]).toMatchObject({ kernel: 'DeepEP BF16', direction: 'combine', sms: 24 });
  });

  it('inside a node', () => {
    const { rows } = one(deepepIntranode, { device: 'NVIDIA H800', gpusPerNode: 8, experts: 256 });
    expect(rows.map((row: Row) => [row.seconds, 'nodes' in row && row.nodes])).toEqual([
      [expect.closeTo(453.49e-6, 12), 1],
      [expect.closeTo(775.61e-6, 12), 1],
    ]);
  });

  it('of low latency give the mean over the ranks', () => {
    const shape = { hiddenSize: 7168, tokensPerGpu: 128, topK: 8, experts: 288 };
    const options = { device: 'NVIDIA H800', nodes: 1, gpusPerNode: 2, ...shape };
    const { rows } = one(deepepLowLatency, options);
    expect(rows).toMatchObject([
      { mode: 'low-latency', direction: 'dispatch', kernel: 'DeepEP FP8', sms: null, ...shape },
      { mode: 'low-latency', direction: 'combine', kernel: 'DeepEP BF16', seconds: 115e-6, ...shape },
    ]);
    expect(rows[0].seconds).toBeCloseTo(78e-6, 12);
    for (const [option, flag] of [
      ['device', '--device'],
      ['nodes', '--nodes'],
      ['gpusPerNode', '--gpus-per-node'],
      ['hiddenSize', '--hidden-size'],
      ['tokensPerGpu', '--tokens-per-gpu'],
      ['topK', '--top-k'],
      ['experts', '--experts'],
    ]) {
      expect(refusal(deepepLowLatency, { ...options, [option]: undefined })).toMatch(
        new RegExp(`^x.csv: found nothing that says .*, allowed: the option ${flag} that says it$`),
      );
    }
    expect(notesOf(deepepInternode + deepepLowLatency, across)).toEqual([
      expect.stringContaining('2 lines of low-latency times left out'),
    ]);
  });

  it('that print no time, or another shape than the option, are refused', () => {
    const old = deepepInternode.replace(/\d+ \+ \d+ us, /g, '');
    expect(refusal(old, across)).toContain("line 5: found no time in ', RDMA chunk 16: 58.00 GB/s (RDMA)");
    expect(refusal(deepepInternode, { ...across, hiddenSize: 4096 })).toContain(
      '--hidden-size: found 4096, allowed: 7168, as the file says',
    );
    expect(refusal(deepepInternode.replace('35 + 1000', 'nan + 1000'), across)).toContain('found nan + 1000');
  });
});

describe('measurements of several files', () => {
  const file = (name: string, text: string) => ({ file: name, measurements: one(text) });
  const h200 = file('a.csv', table(MOE, ...two));

  it('join where device and source are the same', () => {
    const other = file('b.csv', table(MOE, ...two.map((row) => row.replace('rc20', 'rc10'))));
    const joined = joinMeasurements([h200, other]);
    expect(joined.rows).toHaveLength(4);
    expect(joined.software).toEqual({ TRTLLM: '1.3.0rc20, 1.3.0rc10' });
  });

  it('are refused together else', () => {
    const h100 = file('b.csv', table(NORMAL, normal(1, 1), normal(2, 1)));
    expect(() => joinMeasurements([h200, h100])).toThrow(
      'b.csv: device: found NVIDIA H100 (gpu), allowed: NVIDIA H200 (gpu), as in a.csv; import files of another ' +
        'device separately',
    );
    expect(() => joinMeasurements([h100, file('c.txt', ncclTests().replace(/ 80GB HBM3/g, ''))])).toThrow(
      'c.txt: source: found nccl-tests 2.18.3, allowed: ai-dynamo/aiconfigurator',
    );
  });
});

describe('a file of measurements', () => {
  const good = one(table(MOE, ...two));
  const changed = (change: (file: Record<string, never>) => void) => {
    const copy = structuredClone(good) as unknown as Record<string, never>;
    change(copy);
    try {
      readMeasurements(copy, 'm.json');
    } catch (error) {
      expect(error).toBeInstanceOf(MeasurementError);
      return (error as Error).message;
    }
    throw new Error('it was taken');
  };
  const row = (over: object) =>
    changed((copy) => Object.assign((copy as unknown as { rows: object[] }).rows[1], over));

  it.each<[string, () => string, string]>([
    ['no object', () => refusedBy([]), 'm.json: found [], allowed: an object'],
    [
      'another schema',
      () => changed((copy) => Object.assign(copy, { schema: 'x' })),
      'm.json: schema: found "x", allowed: "epsim/measurements@1"',
    ],
    [
      'an unknown key',
      () => changed((copy) => Object.assign(copy, { remark: 'x' })),
      "m.json: remark: found unknown key 'remark', allowed: schema, source, device, software, rows",
    ],
    [
      'no rows',
      () => changed((copy) => Object.assign(copy, { rows: [] })),
      'm.json: rows: found [], allowed: length ≥ 1',
    ],
    ['no time', () => row({ seconds: 0 }), 'm.json: rows[1].seconds: found 0, allowed: a number > 0'],
    [
      'an unknown dtype',
      () => row({ weightDtype: 'fp9' }),
      'm.json: rows[1].weightDtype: found "fp9", allowed: "fp32"',
    ],
    ['an unknown row', () => row({ op: 'sort' }), 'm.json: rows[1].op: found "sort", allowed: "moe-layer"'],
    [
      'an unknown case',
      () => row({ case: { op: 'sort' } }),
      'm.json: rows[1].case.op: found "sort", allowed: "expert-stage"',
    ],
  ])('with %s is refused', (_, refused, message) => {
    expect(refused()).toContain(message);
  });

  function refusedBy(input: unknown): string {
    try {
      readMeasurements(input, 'm.json');
    } catch (error) {
      return (error as Error).message;
    }
    return 'it was taken';
  }
});

describe.skipIf(shared === null)('the published tables', () => {
  const rowsOf = async (name: string) => {
    const file = `${shared}/data/${name}`;
    const notes: string[] = [];
    const text = await readText(file);
    const [{ rows, device }] = importTable(text, { file: name, onNote: (note) => notes.push(note) });
    return { rows, device: device.name, notes };
  };

  it('of NCCL', async () => {
    const h100 = await rowsOf('h100_nccl_2.29.2.csv.gz');
    expect([h100.rows.length, h100.device, h100.notes]).toEqual([504, 'NVIDIA H100 80GB HBM3', []]);
    const largest = { collective: 'all-to-all', gpus: 8, bytes: 512 * 2 ** 20, kernel: 'NCCL 2.29.2 half' };
    const seconds = (rows: Row[]) =>
      rows.find((row) => Object.entries(largest).every(([key, value]) => row[key as never] === value))
        ?.seconds;
    expect(seconds(h100.rows)).toBeCloseTo(1.49e-3, 5);
    expect(seconds((await rowsOf('b200_nccl_2.29.2.csv.gz')).rows)).toBeCloseTo(0.834e-3, 6);
  });

  it.each([
    ['h100_wideep_deepep_ll_perf.csv.gz', 2 * 176, 0],
    ['h100_wideep_deepep_normal_perf.csv.gz', 2 * 2484, 0],
    ['b200_wideep_deepep_normal_perf.csv.gz', 2 * 2484, 0],
    ['h100_multinode_wideep_deepep_ll_perf.csv.gz', 2 * 95, 0],
    ['h100_multinode_wideep_deepep_normal_perf.csv.gz', 2 * (437 - 138), 1],
    ['moe_h200_trtllm_balanced.csv.gz', 36963, 0],
    ['moe_h100_vllm_0.24.0.csv.gz', 28154, 0],
    ['moe_h100_trtllm_1.3.0rc20_cutlass.csv.gz', 101439, 0],
  ])('%s', async (name, count, notes) => {
    const found = await rowsOf(name);
    expect([found.rows.length, found.notes.length]).toEqual([count, notes]);
  });

  it('of DeepEP have the times that are known', async () => {
    const { rows } = await rowsOf('h100_wideep_deepep_normal_perf.csv.gz');
    const shape = { hiddenSize: 7168, experts: 256, tokensPerGpu: 4096, sms: 20 };
    const known = rows.filter((row) =>
      Object.entries(shape).every(([key, value]) => row[key as never] === value),
    );
    expect(known.map(({ seconds }) => Math.round(seconds * 1e6))).toEqual([492, 983]);
  });
});
