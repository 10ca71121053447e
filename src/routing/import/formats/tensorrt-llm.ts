import { z } from 'zod';
import { TraceError } from '../../trace/trace.js';
import { parseAs, readJsonFile } from '../containers/json.js';
import { openSafetensors } from '../containers/safetensors.js';
import { checkShape, checkWhole } from '../containers/tensor.js';
import { CountSteps } from '../count-steps.js';
import { checkRanks, inFile, rankOf, type TraceFormat } from '../format.js';

const META = 'meta_info.json';

const metaSchema = z.object({
  num_experts: z.int().min(1),
  num_experts_per_token: z.int().min(1),
  ep_size: z.int().min(1).optional(),
});

/**
 * TensorRT-LLM's expert statistics (`EXPERT_STATISTIC_ITER_RANGE`, `EXPERT_STATISTIC_PATH`): `meta_info.json`
 * and one `rank<r>.safetensors` per rank, whose keys `"<iteration>_<layer>"` hold the rank's own copies by
 * logical expert.
 */
export const tensorrtLlm: TraceFormat = {
  name: 'tensorrt-llm',
  summary: 'TensorRT-LLM expert statistics: rank*.safetensors with meta_info.json',
  detects: (files) => files.some(({ name }) => /^rank\d+\.safetensors$/.test(name)),
  async read(job) {
    const metaFile = job.files.find(({ name }) => name === META);
    if (metaFile === undefined)
      throw new TraceError(META, 'no such file', 'the one beside the safetensors files');
    const meta = await inFile(metaFile, async () => parseAs('', metaSchema, await readJsonFile(metaFile)));
    const experts = job.experts(meta.num_experts);
    const topK = job.topK(meta.num_experts_per_token, experts);
    const files = job.files.filter(({ name }) => /^rank\d+\.safetensors$/.test(name));
    const ranks = files.map((file) => rankOf(file)!);
    checkRanks(ranks, 'rank files');
    if (meta.ep_size !== undefined && meta.ep_size !== files.length) {
      throw new TraceError(
        'rank files',
        `${files.length} files`,
        `one for each of ep_size = ${meta.ep_size} ranks`,
      );
    }
    if (job.files.some(({ name }) => /_raw\.safetensors$/.test(name))) {
      job.note('rank*_raw.safetensors (tokens) are not read: only the counts are');
    }
    const opened = await Promise.all(files.map((file) => inFile(file, () => openSafetensors(file))));
    const order = opened.map((_, i) => i).sort((a, b) => ranks[a] - ranks[b]);
    const keys = parseKeys(files[0].name, opened[0].names);
    opened.forEach(({ names }, i) => {
      if (names.length === opened[0].names.length && names.every((name) => keys.all.has(name))) return;
      throw new TraceError(files[i].name, 'other iterations or layers', `those of ${files[0].name}`);
    });
    const gpus = files.length;
    const steps = new CountSteps(job, { experts, topK, layerIds: keys.layers, gpus });
    const counts = keys.layers.map(() => new Int32Array(gpus * experts));
    for (const iteration of keys.iterations) {
      for (const [index, layer] of keys.layers.entries()) {
        const key = `${iteration}_${layer}`;
        if (!keys.all.has(key))
          throw new TraceError(files[0].name, `no ${key}`, 'every layer in every iteration');
        for (const [rank, i] of order.entries()) {
          await inFile(files[i], async () => {
            const { shape, data } = await opened[i].read(key);
            checkShape(key, shape, [experts]);
            checkWhole(key, data, 2 ** 31);
            for (let e = 0; e < experts; e++) counts[index][rank * experts + e] = data[e];
          });
        }
      }
      steps.add(`iteration ${iteration}`, counts);
    }
    return steps.finish();
  },
};

function parseKeys(place: string, names: readonly string[]) {
  const iterations = new Set<number>();
  const layers = new Set<number>();
  for (const name of names) {
    const [, iteration, layer] = /^(\d+)_(\d+)$/.exec(name) ?? [];
    if (layer === undefined)
      throw new TraceError(place, `the key ${name.slice(0, 80)}`, '<iteration>_<layer>');
    iterations.add(Number(iteration));
    layers.add(Number(layer));
  }
  if (iterations.size === 0) throw new TraceError(place, 'no tensors', 'at least one');
  const sorted = (numbers: Set<number>) => [...numbers].sort((a, b) => a - b);
  return { all: new Set(names), iterations: sorted(iterations), layers: sorted(layers) };
}
