import { z } from 'zod';
import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { parseAs, parseJson } from '../containers/json.js';
import { lines } from '../containers/lines.js';
import { decodeNumbers } from '../containers/tensor.js';
import { checkRanks, rankOf, type ImportJob, type TraceFormat } from '../format.js';
import { checkSize, MOST_ARRAY_BYTES, MOST_EXPERTS } from '../limits.js';

const recordSchema = z.object({
  step: z.int().min(0),
  stage: z.string().optional(),
  block: z.string().default('decoder'),
  layer: z.int().min(0),
  mtp_idx: z.int().min(0).optional(),
  rank: z.int().min(0).max(65_535),
  num_tokens: z.int().min(0),
  topk: z.int().min(1).max(MOST_EXPERTS),
  top_indices: z.array(z.unknown()),
  logits_offset: z.int().min(0).optional(),
  logits_bytes: z.int().min(0).optional(),
  logits_shape: z.array(z.int().min(0)).optional(),
});
type RouterRecord = z.output<typeof recordSchema>;

/** What one rank's tokens picked in one layer of one pass. */
interface LayerPicks {
  tokens: number;
  /** [token · topK + choice] */
  experts: Uint16Array;
  weights: Float32Array | null;
}

/** One pass of one rank. */
interface Pass {
  step: number;
  rank: number;
  topK: number;
  layers: Map<string, LayerPicks>;
}

/**
 * Megatron-LM's router trace (`--moe-routing-trace-path`, NVIDIA/Megatron-LM @ d98e8a64): a line of JSON for
 * every step, block and layer in one file per rank. With the sidecar `logits_rank<r>.bin` (bfloat16) the gate
 * weights are the softmax of the logits over all experts.
 */
export const megatronJsonl: TraceFormat = {
  name: 'megatron-jsonl',
  summary: 'Megatron-LM router trace: router_trace_rank*.jsonl, with logits_rank*.bin for gate weights',
  detects: (files) => files.some(({ text }) => /^\s*\{/.test(text) && text.includes('"top_indices"')),
  async read(job) {
    const traces = job.files.filter(({ name }) => /\.jsonl?$/.test(name));
    const logits = new Map(
      job.files.filter(({ name }) => /^logits.*\.bin$/.test(name)).map((file) => [rankOf(file), file]),
    );
    const passes = traces.map((file) => passesOf(file, logits.get(rankOf(file)) ?? null));
    try {
      return await writePasses(job, traces, passes, logits.size > 0);
    } finally {
      for (const rank of passes) await rank.return(undefined);
    }
  },
};

async function writePasses(
  job: ImportJob,
  files: readonly ByteSource[],
  passes: readonly AsyncGenerator<Pass, void>[],
  hasWeights: boolean,
) {
  const next = () => Promise.all(passes.map((rank) => rank.next()));
  let current = await next();
  const first = current.map(({ value }) => value as Pass | undefined);
  const empty = first.findIndex((pass) => pass === undefined);
  if (empty >= 0 || first.length === 0) {
    throw new TraceError(files[empty]?.name ?? '', 'no record', 'at least one line');
  }
  checkRanks(
    first.map((pass) => pass!.rank),
    'ranks',
  );
  const { topK } = first[0]!;
  const keys = [...first[0]!.layers.keys()].sort(byLayer);
  const layerIds = keys.map((key, i) => (key.startsWith('decoder/') ? Number(key.split('/')[1]) : i));
  if (keys.some((key) => !key.startsWith('decoder/'))) {
    job.note('layers of multi-token prediction come after the others; their ids count on');
    const decoder = keys.filter((key) => key.startsWith('decoder/')).length;
    const last = layerIds[decoder - 1] ?? -1;
    for (let i = decoder; i < keys.length; i++) layerIds[i] = last + 1 + i - decoder;
  }
  // The largest number seen, where nothing says how many experts there are; known at the end.
  let seen = 0;
  const limit = job.options.experts ?? MOST_EXPERTS;
  const trace = job.tokens(
    { experts: limit, topK: job.topK(topK, limit), layerIds, gpus: passes.length },
    { batches: true, sequences: false, domains: false, phases: false, padding: false, weights: hasWeights },
  );
  const picks = new Uint16Array(keys.length * topK);
  const weights = hasWeights ? new Float32Array(picks.length) : null;
  let steps = 0;
  while (!current.every(({ done }) => done)) {
    const done = current.findIndex((result) => result.done);
    if (done >= 0)
      throw new TraceError(
        files[done].name,
        `its end before pass ${steps}`,
        'as many passes as the other ranks',
      );
    const ranks = current.map(({ value }) => value as Pass).sort((a, b) => a.rank - b.rank);
    for (const pass of ranks) {
      checkPass(pass, ranks[0], keys, topK);
      const layers = keys.map((key) => pass.layers.get(key)!);
      for (let token = 0; token < layers[0].tokens; token++) {
        layers.forEach(({ experts, weights: own }, layer) => {
          for (let j = 0; j < topK; j++) {
            const expert = experts[token * topK + j];
            if (expert > seen) seen = expert;
            picks[layer * topK + j] = expert;
            if (weights) weights[layer * topK + j] = own?.[token * topK + j] ?? 0;
          }
        });
        if (seen >= limit)
          throw new TraceError(`step ${pass.step}, rank ${pass.rank}`, `expert ${seen}`, `0 to ${limit - 1}`);
        trace.writer.add({ step: steps, source: pass.rank }, picks, weights);
      }
    }
    if (ranks.some(({ layers }) => layers.get(keys[0])!.tokens > 0)) steps++;
    current = await next();
  }
  if (steps === 0) throw new TraceError('', 'no tokens', 'at least one');
  if (job.options.experts === undefined) {
    job.note(
      `${seen + 1} experts: the largest number seen and one more, since the recording does not say how many (--experts does)`,
    );
  }
  if (hasWeights) job.note('gate weights: softmax of the recorded logits over all experts');
  return trace.finish({ experts: job.options.experts ?? seen + 1, steps });
}

function checkPass(pass: Pass, first: Pass, keys: readonly string[], topK: number): void {
  const place = `step ${pass.step}, rank ${pass.rank}`;
  if (pass.step !== first.step) {
    throw new TraceError(
      place,
      `step ${pass.step} where rank ${first.rank} has step ${first.step}`,
      'the same steps in all files',
    );
  }
  if (pass.topK !== topK) throw new TraceError(place, `topk ${pass.topK}`, `${topK}, as in the first record`);
  const missing = keys.find((key) => !pass.layers.has(key));
  if (missing !== undefined || pass.layers.size !== keys.length) {
    throw new TraceError(
      place,
      missing ? `no record of layer ${missing}` : 'layers that were not there before',
      'the same layers in every step',
    );
  }
  const { tokens } = pass.layers.get(keys[0])!;
  for (const [key, layer] of pass.layers) {
    if (layer.tokens === tokens) continue;
    throw new TraceError(
      `${place}, layer ${key}`,
      `${layer.tokens} tokens where layer ${keys[0]} has ${tokens}`,
      'the same tokens in every layer',
    );
  }
}

/** The passes of a rank's file in turn: a pass ends where the step changes, or a layer comes again. */
async function* passesOf(file: ByteSource, logits: ByteSource | null): AsyncGenerator<Pass, void> {
  let pass: Pass | null = null;
  for await (const { number, text } of lines(file)) {
    const place = `${file.name}, line ${number}`;
    const record = parseAs(place, recordSchema, parseJson(place, text));
    const key = `${record.block}/${record.layer}${record.mtp_idx === undefined ? '' : `/${record.mtp_idx}`}`;
    if (pass !== null && (pass.step !== record.step || pass.layers.has(key))) {
      yield pass;
      if (record.step < pass.step)
        throw new TraceError(place, `step ${record.step} after ${pass.step}`, 'rising steps');
      pass = null;
    }
    pass ??= { step: record.step, rank: record.rank, topK: record.topk, layers: new Map() };
    if (record.rank !== pass.rank || record.topk !== pass.topK) {
      throw new TraceError(
        place,
        `rank ${record.rank}, topk ${record.topk}`,
        `rank ${pass.rank}, topk ${pass.topK}, as before`,
      );
    }
    const experts = picksOf(place, record);
    const weights = logits === null ? null : await weightsOf(place, record, experts, logits);
    pass.layers.set(key, { tokens: record.num_tokens, experts, weights });
  }
  if (pass !== null) yield pass;
}

function picksOf(place: string, { num_tokens: tokens, topk, top_indices: rows }: RouterRecord): Uint16Array {
  if (rows.length !== tokens)
    throw new TraceError(place, `${rows.length} rows of top_indices`, `num_tokens = ${tokens}`);
  const experts = new Uint16Array(tokens * topk);
  rows.forEach((row, token) => {
    if (!Array.isArray(row) || row.length !== topk) {
      throw new TraceError(`${place}, token ${token}`, 'another number of choices', `topk = ${topk}`);
    }
    for (let j = 0; j < topk; j++) {
      const expert: unknown = row[j];
      if (!(typeof expert === 'number' && expert >= 0 && expert < MOST_EXPERTS && Number.isInteger(expert))) {
        throw new TraceError(
          `${place}, token ${token}`,
          `expert ${JSON.stringify(expert)}`,
          `0 to ${MOST_EXPERTS - 1}`,
        );
      }
      experts[token * topk + j] = expert;
    }
  });
  return experts;
}

/** Softmax of a record's logits over all experts, at the experts that its tokens picked. */
async function weightsOf(
  place: string,
  { num_tokens: tokens, topk, logits_offset: offset, logits_bytes: bytes, logits_shape: shape }: RouterRecord,
  experts: Uint16Array,
  file: ByteSource,
): Promise<Float32Array> {
  if (offset === undefined || bytes === undefined || shape === undefined) {
    throw new TraceError(
      place,
      `no place of its logits in ${file.name}`,
      'logits_offset, logits_bytes and logits_shape',
    );
  }
  const count = shape[shape.length - 1];
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  if (rows !== tokens || bytes !== rows * count * 2 || offset + bytes > file.byteLength) {
    throw new TraceError(
      place,
      `${bytes} bytes of logits at ${offset}, shape [${shape.join(', ')}]`,
      `[${tokens}, experts] in 2 bytes each, inside ${file.name} of ${file.byteLength} bytes`,
    );
  }
  checkSize(place, bytes, MOST_ARRAY_BYTES);
  const logits = decodeNumbers(file.name, await file.read(offset, offset + bytes), 'bfloat16');
  const weights = new Float32Array(experts.length);
  for (let token = 0; token < tokens; token++) {
    const row = token * count;
    let largest = -Infinity;
    for (let e = 0; e < count; e++) largest = Math.max(largest, logits[row + e]);
    let sum = 0;
    for (let e = 0; e < count; e++) sum += Math.exp(logits[row + e] - largest);
    for (let j = 0; j < topk; j++) {
      const expert = experts[token * topk + j];
      const weight = Math.exp(logits[row + expert] - largest) / sum;
      if (!Number.isFinite(weight))
        throw new TraceError(
          `${place}, token ${token}`,
          `logit of expert ${expert} of ${count}`,
          AS_RECORDED,
        );
      weights[token * topk + j] = weight;
    }
  }
  return weights;
}

/** Layers of the decoder before those of multi-token prediction, by their number. */
function byLayer(a: string, b: string): number {
  const [blockA, ...placeA] = a.split('/');
  const [blockB, ...placeB] = b.split('/');
  if (blockA !== blockB)
    return blockA === 'decoder' ? -1 : blockB === 'decoder' ? 1 : blockA < blockB ? -1 : 1;
  for (let i = 0; i < Math.max(placeA.length, placeB.length); i++) {
    const difference = Number(placeA[i] ?? -1) - Number(placeB[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}
