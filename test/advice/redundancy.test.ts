/** How many redundant experts: recommended only where they beat reordering, and priced with all that they take. */
import { describe, expect, it } from 'vitest';
import { questions, type Desk } from '../../src/advice/index.js';
import { fakeDesk, fakeResult, offline, type FakePolicy } from './fake-desk.js';

const questionOf = (wanted: string) => questions.find(({ name }) => name === wanted)!;

/** Eight experts of 1 MB on four GPUs, ten layers: 0, 1, 2 and 4 redundant experts per GPU can be tried. */
interface Case {
  /** Seconds of ep, of reordering, and of 1, 2 and 4 redundant experts, on either part. */
  choose: number[];
  score: number[];
  /** Whether reordering and the chosen number can't be told apart. */
  tie?: boolean;
  buffers?: number[];
  capacity?: number;
  own?: Partial<Desk>;
}

async function answered(name: string, { choose, score, tie, buffers, capacity, own }: Case) {
  const desk = fakeDesk((use, variant) => {
    const inputs = variant.policies(offline);
    const seconds = use === 'choose' ? choose : score;
    const slots = (input: unknown) => (input as { placement?: { slots?: number } }).placement?.slots ?? 8;
    // 8 slots without redundancy, and four more for each redundant expert per GPU.
    const at = inputs.map((input, i) => (i === 0 ? 0 : 1 + [0, 1, 2, 4].indexOf((slots(input) - 8) / 4)));
    const figures = at.map((i): FakePolicy => ({
      seconds: seconds[i],
      capacity,
      byCategory: {
        weights: 2e6,
        communicationBuffers: buffers?.[i] ?? 0,
      },
    }));
    return fakeResult(inputs, figures, tie ? [1, 2] : []);
  }, own);
  return questionOf(name).answer(desk);
}

describe('redundancy', () => {
  const gains = { choose: [2, 1.5, 1.2, 1.195, 1.3], score: [2, 1.5, 1.25, 1.3, 1.4] };

  it('chooses the fewest within 1 % of the fastest, where they beat reordering', async () => {
    const { sentence } = await answered('redundancy', gains);
    expect(sentence).toMatch(/^1 per GPU \(4 in all\): 1\.60× \[.*reordering alone would be 1\.33×/);
    expect((await answered('reorder-or-replicate', gains)).sentence).toMatch(/^Replicate: .*1\.200× as fast/);
  });

  it.each<[string, Case]>([
    ['a tie', { ...gains, tie: true }],
    ['reordering faster on the scored part', { ...gains, score: [2, 1.2, 1.25, 1.3, 1.4] }],
    ['a gain of less than 1 %', { ...gains, score: [2, 1.257, 1.25, 1.3, 1.4] }],
    ['ep fastest', { ...gains, score: [1, 1.5, 1.25, 1.3, 1.4] }],
  ])('says None, as the next answer says Reorder only: %s', async (_, given) => {
    expect((await answered('redundancy', given)).sentence).toMatch(/^None: EPLB that only reorders is/);
    expect((await answered('reorder-or-replicate', given)).sentence).toMatch(/^Reorder only: /);
  });

  it('counts what buffers grow by, in bytes and tokens of the KV cache', async () => {
    const { rows, sentence } = await answered('redundancy', {
      ...gains,
      buffers: [5e6, 5e6, 9e6, 13e6, 21e6],
    });
    // One expert of 1 MB in each of ten layers, and 4 MB of buffers; the cache takes 1 kB a token.
    expect(rows[1]).toMatchObject({
      redundantPerGpu: 1,
      replicaBytesPerGpu: 10e6,
      moreBufferBytesPerGpu: 4e6,
      bytesPerGpu: 14e6,
      kvTokensPerGpu: 14_000,
      fits: 'yes',
    });
    expect(sentence).toContain('the KV cache of 14,000 tokens per GPU, which fits');
  });

  it('says where the experts of all layers and the buffers no longer fit', async () => {
    // Two experts of its own and one redundant in ten layers, 9 MB of buffers and 1 GB beside tensors: 39 MB.
    const room = { ...gains, buffers: [5e6, 5e6, 9e6, 13e6, 21e6] };
    const fits = async (capacity: number) =>
      (await answered('redundancy', { ...room, capacity })).rows.map((row) => row.fits);
    expect(await fits(1e9 + 39e6)).toEqual(['yes', 'yes', 'no', 'no']);
    expect(await fits(1e9 + 39e6 - 1)).toEqual(['yes', 'no', 'no', 'no']);
  });
});
