import type { ByteSource } from '../../bytes.js';
import { TraceError, type Phase, type TraceHeader } from '../../trace/trace.js';
import { checkShape, checkWhole } from '../containers/tensor.js';
import { readTorch, TorchTensor, type TorchValue } from '../containers/torch.js';
import { CountSteps } from '../count-steps.js';
import { checkRanks, inFile, type ImportJob, type TraceFormat } from '../format.js';
import { MOST_EXPERTS } from '../limits.js';
import { addLogical, expertsOf, mapOf, sameMap, type PhysicalMap } from '../physical-map.js';

const WHAT = 'what SGLang’s expert-distribution recorder writes (stat, per_pass, per_token)';
/** Width of the recorded top-k, of which the rest is −1. */
const UNUSED = -1;
const FORWARD_MODES: Readonly<Record<number, Phase | 'mixed' | 'idle'>> = {
  1: 'prefill',
  2: 'decode',
  3: 'mixed',
  4: 'idle',
  5: 'decode',
};

type Dictionary = Map<TorchValue, TorchValue>;

/**
 * SGLang's expert-distribution recordings (`--expert-distribution-recorder-mode`): `stat` and `stat_approx` from
 * one rank, `per_pass` and `per_token` from every rank. Physical numbers are mapped back to logical ones.
 */
export const sglang: TraceFormat = {
  name: 'sglang',
  summary: 'SGLang expert-distribution recordings: expert_distribution_recorder_*.pt',
  detects: (files) => files.some(({ members }) => members?.some((name) => name.endsWith('/data.pkl'))),
  async read(job) {
    const roots = await Promise.all(
      job.files.map((file) =>
        inFile(file, async () => {
          const root = await readTorch(file);
          if (!(root instanceof Map)) throw new TraceError('', 'no dict', WHAT);
          return root;
        }),
      ),
    );
    if (roots[0].has('logical_count')) {
      if (roots.length > 1)
        throw new TraceError('', `${roots.length} files of the mode stat`, 'one at a time');
      return inFile(job.files[0], () => readStat(job, roots[0]));
    }
    return readPasses(job, roots);
  },
};

/** Logical counts [rows][layers][experts], summed over ranks; the rows are a ring buffer's. */
async function readStat(job: ImportJob, root: Dictionary): Promise<TraceHeader> {
  const count = root.get('logical_count');
  if (!(count instanceof TorchTensor)) throw new TraceError('logical_count', 'no tensor', WHAT);
  const { shape, data } = await count.read('logical_count');
  checkShape('logical_count', shape, [null, null, null]);
  checkWhole('logical_count', data, 2 ** 31);
  const [rows, layers, width] = shape;
  const experts = job.experts(width);
  const topK = job.topK(undefined, experts);
  job.note(
    "the steps are the rows of SGLang's ring buffer: their order is unknown, and rows of an earlier dump may be among them",
  );
  job.note('copies are summed over ranks: every expert’s copies are split evenly over the GPUs');
  const layerIds = recordedLayers(data, rows, layers, experts);
  const steps = new CountSteps(job, { experts, topK, layerIds });
  for (let row = 0; row < rows; row++) {
    const copies = layerIds.map((layer) => {
      const at = (row * layers + layer) * experts;
      return Int32Array.from({ length: experts }, (_, e) => data[at + e]);
    });
    steps.add(`row ${row}`, copies);
  }
  return steps.finish({ stepOrder: 'unknown' });
}

/** Layers with any copies; the others are dense ones. */
function recordedLayers(data: ArrayLike<number>, rows: number, layers: number, width: number): number[] {
  const busy = new Uint8Array(layers);
  for (let i = 0; i < rows * layers * width; i++) if (data[i] > 0) busy[Math.floor(i / width) % layers] = 1;
  return Array.from(busy.keys()).filter((layer) => busy[layer] === 1);
}

/** One rank's record of one pass. */
interface PassRecord {
  file: ByteSource;
  rank: number;
  values: Dictionary;
}

async function readPasses(job: ImportJob, roots: readonly Dictionary[]): Promise<TraceHeader> {
  const passes = new Map<number, PassRecord[]>();
  let map: PhysicalMap | null = null;
  for (const [i, root] of roots.entries()) {
    const file = job.files[i];
    await inFile(file, async () => {
      const own = await readMap(root);
      map ??= own;
      if (!sameMap(map, own)) {
        const found = 'another physical-to-logical map than in the other files';
        throw new TraceError(
          'last_physical_to_logical_map',
          found,
          'one map: recordings without a rebalance',
        );
      }
      collectRecords(file, root, passes);
    });
  }
  const slots: PhysicalMap = map!;
  const records = [...passes.keys()].sort((a, b) => a - b).map((id) => ({ id, ranks: passes.get(id)! }));
  if (records.length === 0) throw new TraceError('records', 'none', 'at least one');
  job.note(
    'physical experts are mapped back by the last map, which is right only if nothing was rebalanced meanwhile',
  );
  const experts = job.experts(expertsOf('last_physical_to_logical_map', slots));
  for (const { ranks } of records) ranks.sort((a, b) => a.rank - b.rank);
  const byToken = records[0].ranks[0].values.has('topk_ids_of_layer');
  return byToken ? readTokens(job, records, slots, experts) : readCounts(job, records, slots, experts);
}

async function readMap(root: Dictionary): Promise<PhysicalMap> {
  const place = 'last_physical_to_logical_map';
  const tensor = root.get(place);
  if (!(tensor instanceof TorchTensor)) throw new TraceError(place, 'no tensor', WHAT);
  const { shape, data } = await tensor.read(place);
  checkShape(place, shape, [null, null]);
  checkWhole(place, data, MOST_EXPERTS);
  return mapOf(data, shape[0], shape[1]);
}

function collectRecords(file: ByteSource, root: Dictionary, passes: Map<number, PassRecord[]>): void {
  const list = root.get('records');
  if (!Array.isArray(list)) throw new TraceError('records', 'no list', WHAT);
  list.forEach((values, i) => {
    if (!(values instanceof Map)) throw new TraceError(`records[${i}]`, 'no dict', WHAT);
    const gatherer = values.get('gatherer_key');
    if (gatherer !== undefined && gatherer !== 'primary') return;
    const id = wholeOf(`records[${i}]`, values, 'forward_pass_id');
    const rank = wholeOf(`records[${i}]`, values, 'rank');
    const ranks = passes.get(id) ?? [];
    if (ranks.some((other) => other.rank === rank)) {
      throw new TraceError(`records[${i}]`, `pass ${id} of rank ${rank} twice`, 'each once');
    }
    ranks.push({ file, rank, values });
    passes.set(id, ranks);
  });
}

function wholeOf(place: string, values: Dictionary, key: string): number {
  const value = values.get(key);
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TraceError(
    `${place}.${key}`,
    value === undefined ? 'nothing' : typeof value,
    'a whole number ≥ 0',
  );
}

type Passes = readonly { id: number; ranks: readonly PassRecord[] }[];

/** Counts by pass: each rank's are those of its own tokens, or of its own slots; their sum is right in both cases. */
async function readCounts(job: ImportJob, passes: Passes, map: PhysicalMap, experts: number) {
  const topK = job.topK(undefined, experts);
  const layers = map.length;
  job.note('copies are summed over ranks: every expert’s copies are split evenly over the GPUs');
  checkSameRanks(passes);
  const copiesOf = async ({ id, ranks }: Passes[number]) => {
    const copies = map.map(() => new Int32Array(experts));
    for (const { file, values } of ranks) {
      await inFile(file, async () => {
        const place = `pass ${id}, global_physical_count`;
        const tensor = values.get('global_physical_count');
        if (!(tensor instanceof TorchTensor)) throw new TraceError(place, 'no tensor', WHAT);
        const { shape, data } = await tensor.read(place);
        checkShape(place, shape, [layers, map[0].length]);
        checkWhole(place, data, 2 ** 31);
        map.forEach((slots, layer) => addLogical(slots, data, layer * slots.length, copies[layer]));
      });
    }
    return copies;
  };
  const first = await copiesOf(passes[0]);
  const layerIds = first.map((_, layer) => layer).filter((layer) => first[layer].some((n) => n > 0));
  const steps = new CountSteps(job, {
    experts,
    topK,
    layerIds,
    placements: [{ step: 0, slots: layerIds.map((layer) => [...map[layer]]) }],
  });
  for (const pass of passes) {
    const copies = await copiesOf(pass);
    steps.add(
      `pass ${pass.id}`,
      layerIds.map((layer) => copies[layer]),
    );
  }
  return steps.finish();
}

function checkSameRanks(passes: Passes): void {
  const ranks = passes[0].ranks.map(({ rank }) => rank);
  checkRanks(ranks, 'ranks of the first pass');
  for (const pass of passes) {
    if (pass.ranks.length === ranks.length && pass.ranks.every(({ rank }, i) => rank === ranks[i])) continue;
    throw new TraceError(
      `pass ${pass.id}`,
      `${pass.ranks.length} ranks`,
      `the ${ranks.length} of the first pass`,
    );
  }
}

async function readTokens(job: ImportJob, passes: Passes, map: PhysicalMap, experts: number) {
  checkSameRanks(passes);
  const gpus = passes[0].ranks.length;
  const repeated =
    gpus > 1 && passes.every(({ ranks }) => ranks.every(({ values }) => sameTokens(values, ranks[0].values)));
  if (repeated) {
    job.note(
      `all ${gpus} ranks recorded the same tokens (attention is not split over the batch): those of rank 0 are kept`,
    );
  }
  const used = passes.map(({ id, ranks }) => ({ id, ranks: repeated ? ranks.slice(0, 1) : ranks }));
  const lengths = used.map(({ ranks }) => ranks.map(({ values }) => lengthsOf(values)));
  const isPrefill = used.every(({ ranks }) =>
    ranks.every(({ values }) => ['prefill', 'idle'].includes(modeOf(values))),
  );
  const hasSequences = isPrefill && lengths.every((ranks) => ranks.every((own) => own !== null));
  if (!hasSequences) job.note('sequences are not known: SGLang records no requests');
  const first = await firstPicks(used, map);
  const topK = job.topK(first.topK, experts);
  const trace = job.tokens(
    {
      experts,
      topK,
      layerIds: first.layers,
      ...(repeated ? {} : { gpus }),
      phase: isPrefill ? 'prefill' : undefined,
      placements: [{ step: 0, slots: first.layers.map((layer) => [...map[layer]]) }],
    },
    {
      batches: !repeated,
      sequences: hasSequences,
      domains: false,
      phases: !isPrefill,
      padding: false,
      weights: false,
    },
  );
  const picks = new Uint16Array(first.layers.length * topK);
  let steps = 0;
  let sequence = -1;
  let dropped = 0;
  for (const [index, { id, ranks }] of used.entries()) {
    const before = trace.writer.tokens;
    for (const [r, { file, rank, values }] of ranks.entries()) {
      await inFile(file, async () => {
        const place = `pass ${id}, topk_ids_of_layer`;
        const { shape, data } = await picksOf(place, values, map);
        const [, tokens, width] = shape;
        const phases = phasesOf(values, tokens);
        const ends = endsOf(lengths[index][r], tokens);
        let inSequence = 0;
        let counted = -1;
        for (let token = 0; token < tokens; token++) {
          while (inSequence < ends.length - 1 && token >= ends[inSequence]) inSequence++;
          let routed = 0;
          first.layers.forEach((layer, l) => {
            const at = (layer * tokens + token) * width;
            for (let j = 0; j < topK; j++) {
              const slot = data[at + j];
              if (slot === UNUSED) continue;
              if (slot >= map[layer].length) {
                throw new TraceError(
                  `${place}, layer ${layer}, token ${token}`,
                  `slot ${slot}`,
                  `0 to ${map[layer].length - 1}`,
                );
              }
              picks[l * topK + j] = map[layer][slot];
              routed++;
            }
            if (topK < width && data[at + topK] !== UNUSED) {
              throw new TraceError(
                `${place}, token ${token}`,
                `more than ${topK} choices`,
                `top-k ${topK} as elsewhere`,
              );
            }
          });
          if (routed === 0) {
            dropped++;
            continue;
          }
          if (routed < picks.length) {
            throw new TraceError(
              `${place}, token ${token}`,
              `${routed} choices`,
              `${topK} in each of ${first.layers.length} layers`,
            );
          }
          // A request of nothing but padding is no sequence.
          if (counted !== inSequence) sequence++;
          counted = inSequence;
          trace.writer.add({ step: steps, source: rank, sequence, phase: phases[token] }, picks, null);
        }
      });
    }
    if (trace.writer.tokens > before) steps++;
  }
  if (dropped > 0) job.note(`${dropped} tokens without any expert (padding) are left out`);
  return trace.finish(repeated ? {} : { steps });
}

function sameTokens(a: Dictionary, b: Dictionary): boolean {
  return ['input_ids', 'positions'].every((key) => {
    const [one, other] = [a.get(key), b.get(key)];
    return (
      Array.isArray(one) &&
      Array.isArray(other) &&
      one.length > 0 &&
      one.length === other.length &&
      one.every((value, i) => value === other[i])
    );
  });
}

function modeOf(values: Dictionary): Phase | 'mixed' | 'idle' {
  const mode = values.get('forward_mode');
  return (typeof mode === 'number' ? FORWARD_MODES[mode] : undefined) ?? 'prefill';
}

/** Lengths of the requests of a pass; null where they are not recorded. */
function lengthsOf(values: Dictionary): number[] | null {
  const lengths = values.get('extend_seq_lens');
  if (!Array.isArray(lengths) || !lengths.every((n) => Number.isSafeInteger(n) && (n as number) >= 0))
    return null;
  return lengths as number[];
}

/** Ends of the sequences among so many tokens; those beyond the last are padding and go to it. */
function endsOf(lengths: readonly number[] | null, tokens: number): number[] {
  const ends: number[] = [];
  let end = 0;
  for (const length of lengths ?? []) if (length > 0) ends.push((end += length));
  return ends.length === 0 ? [tokens] : ends;
}

/** A mixed pass decodes the requests with one token and prefills the others. */
function phasesOf(values: Dictionary, tokens: number): Phase[] {
  const mode = modeOf(values);
  if (mode !== 'mixed') return new Array<Phase>(tokens).fill(mode === 'decode' ? 'decode' : 'prefill');
  const phases: Phase[] = [];
  for (const length of lengthsOf(values) ?? []) {
    for (let i = 0; i < length && phases.length < tokens; i++)
      phases.push(length === 1 ? 'decode' : 'prefill');
  }
  while (phases.length < tokens) phases.push('decode');
  return phases;
}

async function picksOf(place: string, values: Dictionary, map: PhysicalMap) {
  const tensor = values.get('topk_ids_of_layer');
  if (!(tensor instanceof TorchTensor)) throw new TraceError(place, 'no tensor', WHAT);
  const picks = await tensor.read(place);
  checkShape(place, picks.shape, [map.length, null, null]);
  checkWhole(place, picks.data, MOST_EXPERTS, UNUSED);
  return picks;
}

/** Top-k and the layers that route at all, by the first pass that has a token. */
async function firstPicks(passes: Passes, map: PhysicalMap): Promise<{ topK: number; layers: number[] }> {
  for (const { id, ranks } of passes) {
    for (const { file, values } of ranks) {
      const { shape, data } = await inFile(file, () => picksOf(`pass ${id}, topk_ids_of_layer`, values, map));
      const [layers, tokens, width] = shape;
      const routed = new Set<number>();
      let topK = 0;
      for (let i = 0; i < data.length; i++) {
        if (data[i] === UNUSED) continue;
        routed.add(Math.floor(i / (tokens * width)));
        topK = Math.max(topK, (i % width) + 1);
      }
      if (topK > 0)
        return { topK, layers: Array.from({ length: layers }, (_, l) => l).filter((l) => routed.has(l)) };
    }
  }
  throw new TraceError('records', 'no token with an expert', 'at least one');
}
