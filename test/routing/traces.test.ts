import { dump } from 'npyjs';
import { describe, expect, it } from 'vitest';
import {
  BatchTraceWriter,
  bytesInMemory,
  encodeTokenTrace,
  MemorySink,
  readNativeTrace,
  readRecording,
  rowsInMemory,
  TraceError,
  type CountTrace,
  type LayerBatch,
  type RecordingParts,
  type TokenTrace,
  type TraceHeader,
} from '../../src/routing/index.js';

const text = (content: string) => new TextEncoder().encode(content).buffer;

function parts(change: Partial<Record<keyof RecordingParts, ArrayBuffer | undefined>> = {}): RecordingParts {
  return {
    'experts.npy': dump(Uint8Array.of(0, 1, 2, 3, 1, 0, 3, 2, 0, 2, 1, 3), [3, 2, 2]),
    'seq_offsets.npy': dump(Int32Array.of(0, 2, 3), [3]),
    'counts.csv': text('3,2,1,0\n0,1,2,3\n'),
    'meta.json': text(
      JSON.stringify({ model: 'm', experts: 4, layers: 2, topk: 2, phase: 'decode (greedy)' }),
    ),
    ...change,
  };
}

describe('numpy recordings', () => {
  it('reads experts, sequences and what meta.json says', async () => {
    const trace = (await readRecording(parts(), undefined)) as TokenTrace;
    expect(trace.tokens).toBe(3);
    expect([...trace.sequenceStarts!]).toEqual([0, 2, 3]);
    expect(trace.header).toMatchObject({
      model: 'm',
      experts: 4,
      topK: 2,
      layerIds: [0, 1],
      phase: 'decode',
    });
  });

  it('reads the domain of every sequence', async () => {
    const meta = { experts: 4, layers: 2, topk: 2, sequence_domains: ['prose', 'code'] };
    const { header, sequenceDomains } = (await readRecording(
      parts({ 'meta.json': text(JSON.stringify(meta)) }),
      undefined,
    )) as TokenTrace;
    expect(header.domains).toEqual(['code', 'prose']);
    expect([...sequenceDomains!]).toEqual([1, 0]);
    const wrong = text(JSON.stringify({ ...meta, sequence_domains: ['prose'] }));
    await expect(readRecording(parts({ 'meta.json': wrong }), undefined)).rejects.toThrow(
      'meta.json sequence_domains: found 1 names, allowed: one for each of 2 sequences',
    );
  });

  it('reads counts alone', async () => {
    const trace = (await readRecording(parts({ 'experts.npy': undefined }), undefined)) as CountTrace;
    expect(trace.steps[0].layers.map((layer) => [...layer])).toEqual([
      [3, 2, 1, 0],
      [0, 1, 2, 3],
    ]);
    expect(trace.header.notes[0]).toContain('counts without source GPUs');
  });

  it.each<[string, Parameters<typeof parts>[0], RegExp]>([
    ['no meta.json', { 'meta.json': undefined }, /meta\.json: found no such file/],
    ['meta.json that is no JSON', { 'meta.json': text('{') }, /meta\.json: /],
    [
      'meta.json without experts',
      { 'meta.json': text('{"layers": 2}') },
      /meta\.json experts: found nothing, allowed: of type /,
    ],
    [
      'truncated experts',
      { 'experts.npy': parts()['experts.npy']!.slice(0, -3) },
      /found 9 values, but its header says 12, allowed: the file as it was recorded/,
    ],
    ['something else', { 'experts.npy': text('PK this is a zip') }, /experts\.npy: found not a numpy file/],
    ['an empty file', { 'experts.npy': new ArrayBuffer(0) }, /experts\.npy: found not a numpy file/],
    [
      'another shape',
      { 'experts.npy': dump(new Uint8Array(12), [6, 2]) },
      /found shape \[6, 2\], allowed: \[tokens, 2 layers, top 2\]/,
    ],
    ['floats', { 'experts.npy': dump(new Float32Array(12), [3, 2, 2]) }, /found Float32Array/],
    [
      'an expert out of range',
      { 'experts.npy': dump(Uint8Array.of(0, 1, 2, 3, 1, 0, 4, 2, 0, 2, 1, 3), [3, 2, 2]) },
      /token 1: found expert 4, allowed: 0 to 3/,
    ],
    [
      'offsets beyond the tokens',
      { 'seq_offsets.npy': dump(Int32Array.of(0, 2, 5), [3]) },
      /sequence starts: found 3 from 0 to 5/,
    ],
    [
      'offsets that fall',
      { 'seq_offsets.npy': dump(Int32Array.of(0, 2, 1, 3), [4]) },
      /found 1 after 2, allowed: rising/,
    ],
    [
      'counts of another recording',
      { 'counts.csv': text('3,2,1,0\n0,1,3,2\n') },
      /counts\.csv: found 3 copies of expert 2 in layer 1 where experts\.npy has 2/,
    ],
    ['counts that are none', { 'counts.csv': text('3,2,1,x\n0,1,2,3\n') }, /counts\.csv line 1: found NaN/],
    ['too few lines of counts', { 'counts.csv': text('3,2,1,0\n') }, /found 1 lines/],
  ])('refuses %s', async (_, change, message) => {
    await expect(readRecording(parts(change), undefined)).rejects.toThrow(message);
    await expect(readRecording(parts(change), undefined)).rejects.toThrow(/found .+, allowed: ./s);
  });
});

const header: TraceHeader = {
  schema: 'epsim/trace@1',
  kind: 'tokens',
  model: 'm',
  experts: 300,
  topK: 2,
  layerIds: [4, 9],
  phase: 'prefill',
  source: 'made by a test',
  licence: 'none',
  importance: [new Array<number>(300).fill(1), new Array<number>(300).fill(2)],
  notes: [],
};

const trace: TokenTrace = {
  kind: 'tokens',
  header,
  tokens: 3,
  rows: rowsInMemory(
    3,
    Uint16Array.of(0, 299, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14),
    Float32Array.from({ length: 12 }, (_, i) => i / 16),
  ),
  sequenceStarts: Int32Array.of(0, 1, 3),
  sequenceDomains: null,
  batches: null,
  phase: null,
  padding: null,
};

const read = (bytes: Uint8Array) => readNativeTrace(bytesInMemory(bytes));

/** A trace with its one block in place of the function that gives it, so that two can be compared. */
const plain = ({ rows, ...rest }: TokenTrace) => ({ ...rest, ...rows.block(0) });

describe('native traces', () => {
  it('come back as they were: experts, gate weights, sequences, header', async () => {
    expect(plain((await read(encodeTokenTrace(trace))) as TokenTrace)).toEqual(plain(trace));
  });

  it('keep batches of tokens, their sources and the calibration part', async () => {
    const batches = {
      starts: Int32Array.of(0, 1, 2, 3),
      source: Uint16Array.of(1, 0, 1),
      calibrationSteps: 1,
    };
    const recorded = { ...trace, header: { ...header, gpus: 2, steps: 2 }, batches };
    expect(plain((await read(encodeTokenTrace(recorded))) as TokenTrace)).toEqual(plain(recorded));
  });

  it('keep padding, phases, domains and the placements that were in force', async () => {
    const placements = [
      {
        step: 0,
        slots: [
          [...Array(300).keys(), 7],
          [...Array(300).keys(), 8],
        ],
      },
      {
        step: 1,
        slots: [
          [...Array(300).keys(), 9],
          [...Array(300).keys(), 10],
        ],
      },
    ];
    const mixed: TokenTrace = {
      ...trace,
      header: { ...header, phase: undefined, domains: ['prose', 'code'], placements },
      sequenceDomains: Uint16Array.of(1, 0),
      phase: Uint8Array.of(0, 1, 1),
      padding: Uint8Array.of(0, 0, 1),
    };
    expect(plain((await read(encodeTokenTrace(mixed))) as TokenTrace)).toEqual(plain(mixed));
  });

  it('outside memory they hold the same', async () => {
    const tokens = 5_000;
    const picks = Uint16Array.from({ length: tokens * 4 }, (_, i) => (i * 7919) % 300);
    const weights = Float32Array.from(picks, (e) => e / 300);
    const long: TokenTrace = {
      ...trace,
      tokens,
      rows: rowsInMemory(tokens, picks, weights),
      sequenceStarts: Int32Array.of(0, 17, tokens),
    };
    const scratch: number[] = [];
    const { rows } = (await readNativeTrace(bytesInMemory(encodeTokenTrace(long)), {
      memory: 20_000,
      scratch: () => ({
        append: (bytes) => bytes.forEach((byte) => scratch.push(byte)),
        read: (position, into) => into.forEach((_, i) => (into[i] = scratch[position + i])),
      }),
    })) as TokenTrace;
    expect(rows.blockTokens).toBeLessThan(tokens);
    // Back and forth, so that blocks leave the cache and come again.
    for (let i = 0; i < 200; i++) {
      const token = (i * 2_741) % tokens;
      const block = rows.block(Math.floor(token / rows.blockTokens));
      const at = (token % rows.blockTokens) * 4;
      expect([...block.experts.subarray(at, at + 4)]).toEqual([...picks.subarray(token * 4, token * 4 + 4)]);
      expect(block.weights![at + 3]).toBe(weights[token * 4 + 3]);
    }
  });

  it('keep counts by step, layer and source GPU', async () => {
    const counts: TraceHeader = {
      ...header,
      kind: 'counts',
      experts: 2,
      importance: undefined,
      gpus: 2,
      steps: 2,
    };
    const sink = new MemorySink();
    const writer = new BatchTraceWriter(counts, false, sink);
    const layers = (a: number): LayerBatch[] =>
      [0, 1].map((layer) => ({ layer, counts: Int32Array.of(a, 0, layer, 7), tokens: null }));
    writer.add(0, layers(50), true);
    writer.add(0, layers(60));
    writer.add(1, layers(70));
    writer.finish();
    const { steps } = (await read(sink.bytes())) as CountTrace;
    expect(
      steps.map(({ calibration, layers: own }) => [calibration, own.map((layer) => [...layer])]),
    ).toEqual([
      [
        true,
        [
          [50, 0, 0, 7],
          [50, 0, 1, 7],
        ],
      ],
      [
        false,
        [
          [60, 0, 0, 7],
          [60, 0, 1, 7],
        ],
      ],
      [
        false,
        [
          [70, 0, 0, 7],
          [70, 0, 1, 7],
        ],
      ],
    ]);
  });

  it('refuses truncated and foreign files', async () => {
    const bytes = encodeTokenTrace(trace);
    await expect(read(bytes.subarray(0, bytes.length - 20))).rejects.toThrow('truncated or corrupt');
    await expect(read(bytes.subarray(30))).rejects.toThrow(/truncated or corrupt|not an epsim trace/);
    await expect(read(new Uint8Array(text('hello')))).rejects.toThrow('not a Parquet file');
    const damaged = bytes.slice();
    damaged.fill(255, 4, 60);
    await expect(read(damaged)).rejects.toThrow(/truncated or corrupt|found/);
  });

  it('refuses damage that decodes without an error, wherever it is', async () => {
    const tokens = 9_000;
    const picks = Uint16Array.from({ length: 4 * tokens }, (_, i) => (Math.imul(i, 7_919) >>> 5) % 300);
    const weights = Float32Array.from(picks, (expert, i) => expert / 300 + i * 1e-7);
    const long = { ...trace, tokens, rows: rowsInMemory(tokens, picks, weights) };
    const bytes = encodeTokenTrace({ ...long, sequenceStarts: Int32Array.of(0, 1, tokens) });
    for (let at = 5_000; at < bytes.length - 50; at += Math.floor(bytes.length / 12)) {
      const damaged = Uint8Array.from(bytes);
      for (let i = at; i < at + 40; i++) damaged[i] ^= 0x5a;
      await expect(read(damaged), `damage at ${at}`).rejects.toThrow(TraceError);
    }
    const { experts } = ((await read(bytes)) as TokenTrace).rows.block(0);
    expect(experts).toEqual(picks);
  });

  it.each<[string, (bytes: Uint8Array, at: number) => void]>([
    ['a changed bit', (bytes, at) => (bytes[at] ^= 1 << (at % 8))],
    // Where a run's length stands, the decoder alone would fill the memory.
    [
      'a huge number',
      (bytes, at) => bytes.set([0xfe, 0xff, 0xff, 0xff, 0x0f].slice(0, bytes.length - at), at),
    ],
  ])('with %s anywhere they are refused, or read as they were', async (_, damage) => {
    const bytes = encodeTokenTrace(trace);
    const intact = plain(trace);
    let refused = 0;
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Uint8Array.from(bytes);
      damage(damaged, at);
      try {
        expect(plain((await read(damaged)) as TokenTrace)).toEqual(intact);
      } catch (error) {
        if (!(error instanceof TraceError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(bytes.length / 2);
  });

  it('refuses a header that was changed', async () => {
    const bytes = encodeTokenTrace(trace);
    const at = Buffer.from(bytes).indexOf('"layerIds":[4');
    bytes[at + '"layerIds":['.length] = '5'.charCodeAt(0);
    await expect(read(bytes)).rejects.toThrow(
      /^header: found other contents than were written .*, allowed: the file as it was recorded/,
    );
  });

  it('reads files from before there were checksums', async () => {
    const bytes = encodeTokenTrace(trace);
    const at = Buffer.from(bytes).indexOf('epsim/checksums');
    bytes[at] = 'E'.charCodeAt(0);
    expect(plain((await read(bytes)) as TokenTrace)).toEqual(plain(trace));
  });

  it('refuses a file that contradicts its header', async () => {
    const wrong = encodeTokenTrace({ ...trace, header: { ...header, experts: 100, importance: undefined } });
    await expect(read(wrong)).rejects.toThrow('column expert_1, row 0: found 299, allowed: 0 to 99');
    const short = encodeTokenTrace({ ...trace, header: { ...header, importance: [[1]] } });
    await expect(read(short)).rejects.toThrow('importance of another shape');
  });
});
