import { z } from 'zod';
import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { parseAs, parseJson } from '../containers/json.js';
import { lines } from '../containers/lines.js';
import { CountSteps } from '../count-steps.js';
import { checkRanks, inFile, type TraceFormat } from '../format.js';
import { MOST_EXPERTS } from '../limits.js';

const copies = z.array(
  z
    .int()
    .min(0)
    .max(2 ** 31 - 1),
);

const metadataSchema = z.object({
  record_type: z.literal('metadata'),
  schema_version: z.literal(2),
  global_rank: z.int().min(0).max(65_535),
  top_k: z.int().min(1).max(MOST_EXPERTS),
  layers: z
    .array(
      z.object({
        layer_id: z.int().min(0),
        global_num_experts: z.int().min(1).max(MOST_EXPERTS),
        local_expert_ids: z.array(z.int().min(0)),
      }),
    )
    .min(1),
});

const stepSchema = z.object({
  record_type: z.literal('decode_step'),
  decode_step: z.int().min(0),
  useful_assignments: z.int().min(0),
  padding_assignments: z.int().min(0),
  layers: z.array(
    z.object({
      layer_id: z.int().min(0),
      useful_route_sha256: z.string(),
      useful_local_assignments_per_expert: copies,
      padding_local_assignments_per_expert: copies,
    }),
  ),
});

const summarySchema = z.object({
  record_type: z.literal('summary'),
  status: z.string(),
  decode_steps: z.int().min(0),
});

type Metadata = z.output<typeof metadataSchema>;
type Step = z.output<typeof stepSchema>;

/** One rank's file: its metadata, and its steps in turn. */
interface RankFile {
  source: ByteSource;
  metadata: Metadata;
  steps: AsyncGenerator<{ line: number; step: Step }, void>;
}

/**
 * Decode statistics of vLLM (`expert-routing-rank-<r>-iteration-<i>.jsonl`, schema version 2 of its expert routing
 * statistics recorder): a line of metadata, a line for every decode step, a summary. A rank counts the copies of its
 * own tokens at its own experts, those of padding apart, and hashes what it saw. Ranks that saw the same tokens
 * (tensor parallelism) together have all experts; ranks with tokens of their own (data parallelism) do not say what
 * these send elsewhere, and are refused.
 */
export const vllmDecodeStats: TraceFormat = {
  name: 'vllm-decode-stats',
  summary: 'vLLM decode statistics: expert-routing-rank-*.jsonl of all ranks, padding apart',
  detects: (files) =>
    files.some(({ text }) => /^\s*\{/.test(text) && text.includes('"useful_local_assignments_per_expert"')),
  async read(job) {
    const ranks: RankFile[] = [];
    try {
      for (const source of job.files) ranks.push(await inFile(source, () => openRank(source)));
      checkRanks(
        ranks.map(({ metadata }) => metadata.global_rank),
        'ranks',
      );
      const [{ metadata: first }] = ranks;
      const experts = job.experts(first.layers[0].global_num_experts);
      const topK = job.topK(first.top_k, experts);
      checkExperts(ranks, experts);
      job.note('copies are not known by source: every expert’s copies are split evenly over the GPUs');
      const trace = new CountSteps(
        job,
        { experts, topK, layerIds: first.layers.map(({ layer_id: id }) => id), phase: 'decode' },
        { phases: false, padding: true },
      );
      for (;;) {
        const next = await Promise.all(ranks.map(({ source, steps }) => inFile(source, () => steps.next())));
        const ended = next.findIndex(({ done }) => done);
        if (ended >= 0) {
          const longer = next.findIndex(({ done }) => !done);
          if (longer < 0) return trace.finish({ phase: 'decode' });
          throw new TraceError(ranks[ended].source.name, 'fewer steps than other ranks have', AS_RECORDED);
        }
        addStep(
          trace,
          ranks,
          next.map(({ value }) => value as { line: number; step: Step }),
          experts,
        );
      }
    } finally {
      for (const { steps } of ranks) await steps.return(undefined);
    }
  },
};

async function openRank(source: ByteSource): Promise<RankFile> {
  const all = lines(source);
  const head = await all.next();
  if (head.done) throw new TraceError('', 'no line', 'a line of metadata');
  const metadata = parseAs('line 1', metadataSchema, parseJson('line 1', head.value.text));
  return { source, metadata, steps: stepsOf(all, metadata) };
}

async function* stepsOf(
  rest: AsyncGenerator<{ number: number; text: string }>,
  { layers }: Metadata,
): AsyncGenerator<{ line: number; step: Step }, void> {
  let count = 0;
  let ended = false;
  for await (const { number, text } of rest) {
    const place = `line ${number}`;
    const record = parseJson(place, text);
    if (ended) throw new TraceError(place, 'a line after the summary', 'nothing');
    if ((record as { record_type?: unknown } | null)?.record_type === 'summary') {
      const summary = parseAs(place, summarySchema, record);
      if (summary.decode_steps !== count)
        throw new TraceError(
          place,
          `decode_steps ${summary.decode_steps} after ${count} of them`,
          AS_RECORDED,
        );
      ended = true;
      continue;
    }
    const step = parseAs(place, stepSchema, record);
    if (step.decode_step !== count)
      throw new TraceError(place, `decode_step ${step.decode_step}`, `${count}: steps in order, from 0`);
    if (step.layers.length !== layers.length)
      throw new TraceError(place, `${step.layers.length} layers`, `the ${layers.length} of the metadata`);
    step.layers.forEach((layer, i) => {
      const { layer_id: id, local_expert_ids: local } = layers[i];
      const sizes = [layer.useful_local_assignments_per_expert, layer.padding_local_assignments_per_expert];
      if (layer.layer_id !== id || sizes.some((own) => own.length !== local.length)) {
        throw new TraceError(
          `${place}, layers.${i}`,
          `layer ${layer.layer_id} with ${sizes.map((own) => own.length).join(' and ')} experts`,
          `layer ${id} with the ${local.length} experts of the metadata`,
        );
      }
    });
    yield { line: number, step };
    count++;
  }
  if (!ended) throw new TraceError('', 'no summary at the end', AS_RECORDED);
}

/** @throws TraceError unless every layer's experts are on the ranks, each once */
function checkExperts(ranks: readonly RankFile[], experts: number): void {
  const [{ metadata: first }] = ranks;
  for (const { source, metadata } of ranks) {
    const same =
      metadata.top_k === first.top_k &&
      metadata.layers.length === first.layers.length &&
      metadata.layers.every(
        (layer, i) => layer.layer_id === first.layers[i].layer_id && layer.global_num_experts === experts,
      );
    if (!same)
      throw new TraceError(source.name, 'other layers, experts or top_k', 'those of the other ranks');
  }
  first.layers.forEach(({ layer_id: id }, i) => {
    const holders = new Int32Array(experts);
    for (const { source, metadata } of ranks) {
      for (const expert of metadata.layers[i].local_expert_ids) {
        if (expert >= experts)
          throw new TraceError(source.name, `expert ${expert} in layer ${id}`, `0 to ${experts - 1}`);
        holders[expert]++;
      }
    }
    const wrong = holders.findIndex((count) => count !== 1);
    if (wrong >= 0) {
      throw new TraceError(
        `layer ${id}`,
        `expert ${wrong} on ${holders[wrong]} of ${ranks.length} ranks`,
        'the files of all ranks of one expert-parallel group, every expert on one of them',
      );
    }
  });
}

function addStep(
  trace: CountSteps,
  ranks: readonly RankFile[],
  steps: readonly { line: number; step: Step }[],
  experts: number,
): void {
  const [{ step: first, line }] = steps;
  const useful = first.layers.map(() => new Int32Array(experts));
  const padding = first.layers.map(() => new Int32Array(experts));
  steps.forEach(({ step }, rank) => {
    step.layers.forEach((layer, i) => {
      if (layer.useful_route_sha256 !== first.layers[i].useful_route_sha256) {
        throw new TraceError(
          `${ranks[rank].source.name}: line ${steps[rank].line}, layers.${i}`,
          `other tokens than rank ${ranks[0].metadata.global_rank} saw, by their hash`,
          'ranks that saw the same tokens: each counts only its own experts, so that copies between ranks with tokens of their own are not in the files',
        );
      }
      const local = ranks[rank].metadata.layers[i].local_expert_ids;
      local.forEach((expert, j) => {
        useful[i][expert] += layer.useful_local_assignments_per_expert[j];
        padding[i][expert] += layer.padding_local_assignments_per_expert[j];
      });
    });
  });
  useful.forEach((counts, i) => {
    const sums = [counts, padding[i]].map((own) => own.reduce((sum, count) => sum + count, 0));
    const said = [first.useful_assignments, first.padding_assignments];
    if (sums[0] !== said[0] || sums[1] !== said[1]) {
      throw new TraceError(
        `${ranks[0].source.name}: line ${line}, layers.${i}`,
        `${sums.join(' useful and ')} padding copies over all ranks`,
        `${said.join(' and ')}, as the step says`,
      );
    }
  });
  trace.add(`step ${first.decode_step}`, useful, { padding });
}
