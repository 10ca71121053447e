import { TraceError } from '../../trace/trace.js';
import { openNpz, type NpzFile } from '../containers/npz.js';
import { checkShape, checkWhole } from '../containers/tensor.js';
import { CountSteps } from '../count-steps.js';
import { checkRanks, inFile, type TraceFormat } from '../format.js';

const VERSION = 'mcore_ep_load_dump_v1';

interface RankLoads {
  rank: number;
  size: number;
  group: string;
  layers: readonly number[];
  physical: number;
  /** Forward passes that were recorded. */
  forwards: number;
  shape: readonly number[];
  loads: ArrayLike<number>;
}

/**
 * Loads by expert from UltraEP's fork of Megatron (`mcore_ep_loads_rank<r>_<id>.npz`, mcore_ep_load_dump_v1):
 * the copies of every rank's own tokens, [layers][forward passes][experts].
 */
export const megatronNpz: TraceFormat = {
  name: 'megatron-npz',
  summary: "loads of UltraEP's Megatron fork: mcore_ep_loads_rank*.npz, all ranks of one EP group",
  detects: (files) =>
    files.some(({ members }) => members?.includes('loads.npy') && members.includes('forward_counts.npy')),
  async read(job) {
    const ranks = await Promise.all(
      job.files.map((file) => inFile(file, async () => readRank(await openNpz(file)))),
    );
    ranks.sort((a, b) => a.rank - b.rank);
    const [first] = ranks;
    if (ranks.some(({ group }) => group !== first.group)) {
      throw new TraceError('ep_group_ranks', 'several EP groups', 'the files of one, one import for each');
    }
    checkRanks(
      ranks.map(({ rank }) => rank),
      'ep_rank',
    );
    if (ranks.length !== first.size) {
      throw new TraceError(
        'ep_size',
        `${ranks.length} files`,
        `one for each of ep_size = ${first.size} ranks`,
      );
    }
    for (const { rank, layers, physical } of ranks) {
      if (physical === first.physical && String(layers) === String(first.layers)) continue;
      throw new TraceError(`ep_rank ${rank}`, 'other layers or experts', 'those of rank 0');
    }
    const experts = job.options.experts ?? first.physical;
    if (experts !== first.physical) {
      const found = `${first.physical} physical experts for ${experts} logical ones`;
      throw new TraceError(
        'num_global_physical_experts',
        found,
        'as many: the file does not say which expert a spare slot held',
      );
    }
    const topK = job.topK(undefined, job.experts(experts));
    const forwards = Math.min(...ranks.map((rank) => rank.forwards));
    if (ranks.some((rank) => rank.forwards !== forwards)) {
      job.note(`ranks recorded different numbers of passes: the first ${forwards} are kept`);
    }
    const gpus = ranks.length;
    const steps = new CountSteps(job, { experts, topK, layerIds: [...first.layers], gpus });
    const counts = first.layers.map(() => new Int32Array(gpus * experts));
    for (let pass = 0; pass < forwards; pass++) {
      ranks.forEach(({ loads, shape }, gpu) => {
        counts.forEach((into, layer) => {
          const at = (layer * shape[1] + pass) * experts;
          for (let e = 0; e < experts; e++) into[gpu * experts + e] = loads[at + e];
        });
      });
      steps.add(`forward pass ${pass}`, counts);
    }
    return steps.finish();
  },
};

async function readRank(file: NpzFile): Promise<RankLoads> {
  const version = await file.text('dump_version');
  if (version !== VERSION) throw new TraceError('dump_version', version.slice(0, 80), VERSION);
  const { shape, data: loads } = await file.array('loads');
  checkShape('loads', shape, [null, null, null]);
  checkWhole('loads', loads, 2 ** 31);
  const number = async (name: string, limit: number) => {
    const { data } = await file.array(name);
    checkWhole(name, data, limit);
    if (data.length !== 1) throw new TraceError(name, `${data.length} values`, 'one');
    return data[0];
  };
  const layers = await file.array('layer_numbers');
  checkShape('layer_numbers', layers.shape, [shape[0]]);
  checkWhole('layer_numbers', layers.data, 2 ** 31);
  const physical = await number('num_global_physical_experts', 2 ** 31);
  if (physical !== shape[2])
    throw new TraceError('loads', `${shape[2]} experts`, `num_global_physical_experts = ${physical}`);
  const counts = await file.array('forward_counts');
  checkWhole('forward_counts', counts.data, shape[1] + 1);
  if (counts.data.length !== 1) checkShape('forward_counts', counts.shape, [shape[0]]);
  const group = await file.array('ep_group_ranks');
  return {
    rank: await number('ep_rank', 65_536),
    size: await number('ep_size', 65_537),
    group: Array.from(group.data).join(','),
    layers: Array.from(layers.data),
    physical,
    forwards: Math.min(...Array.from(counts.data)),
    shape,
    loads,
  };
}
