import { z } from 'zod';
import { TraceError, type RecordedPlacement } from '../../trace/trace.js';
import { parseAs, readJsonFile } from '../containers/json.js';
import { CountSteps } from '../count-steps.js';
import { inFile, type TraceFormat } from '../format.js';
import { addLogical, expertsOf, sameMap } from '../physical-map.js';

const matrix = z
  .array(
    z
      .array(
        z
          .int()
          .min(0)
          .max(2 ** 31 - 1),
      )
      .min(1),
  )
  .min(1);

const dumpSchema = z.object({
  snapshots: z
    .array(
      z.object({
        step: z.int().min(0),
        window_expert_load: matrix.optional(),
        latest_expert_load: matrix.optional(),
        physical_to_logical_map: matrix,
      }),
    )
    .min(1),
  num_logical_experts: z.int().min(1).optional(),
  window_size: z.int().min(1).optional(),
});

/**
 * Expert loads of vLLM (rank 0 of the llm-d benchmark runbook): snapshots of the loads by physical expert, with
 * the map that was in force. The load of the latest step is taken where there is one, since a window's sum hides
 * how uneven its steps were.
 */
export const vllmLoad: TraceFormat = {
  name: 'vllm-load',
  summary: 'vLLM expert loads: JSON with snapshots of window_expert_load or latest_expert_load',
  detects: (files) =>
    files.some(({ text }) => /^\s*\{/.test(text) && /"(window|latest)_expert_load"/.test(text)),
  async read(job) {
    const [file] = job.files;
    if (job.files.length > 1) throw new TraceError('', `${job.files.length} files`, 'one model at a time');
    return inFile(file, async () => {
      const dump = parseAs('', dumpSchema, await readJsonFile(file));
      const { snapshots } = dump;
      const first = snapshots[0].physical_to_logical_map;
      const experts = job.experts(dump.num_logical_experts ?? expertsOf('physical_to_logical_map', first));
      const topK = job.topK(undefined, experts);
      const latest = snapshots.every(({ latest_expert_load: load }) => load !== undefined);
      job.note(
        latest
          ? 'steps are the latest step of each snapshot: those between snapshots were not recorded'
          : `steps are sums over windows of ${dump.window_size ?? 'unknown many'} steps: single steps are more uneven`,
      );
      job.note('copies are summed over ranks: every expert’s copies are split evenly over the GPUs');
      const placements: RecordedPlacement[] = [];
      const steps = new CountSteps(job, {
        experts,
        topK,
        layerIds: first.map((_, layer) => layer),
        placements,
      });
      snapshots.forEach((snapshot, i) => {
        const place = `snapshots.${i}`;
        const map = snapshot.physical_to_logical_map;
        const load = latest ? snapshot.latest_expert_load : snapshot.window_expert_load;
        if (load === undefined)
          throw new TraceError(place, 'no load', 'window_expert_load or latest_expert_load');
        const fits = (other: number[][]) =>
          other.length === first.length && other.every((row) => row.length === first[0].length);
        if (!fits(map) || !fits(load)) {
          const shape = `${first.length} layers × ${first[0].length} physical experts`;
          throw new TraceError(place, 'a load or a map of another shape', shape);
        }
        if (expertsOf(`${place}.physical_to_logical_map`, map) !== experts) {
          throw new TraceError(
            `${place}.physical_to_logical_map`,
            'another number of experts',
            String(experts),
          );
        }
        if (placements.length === 0 || !sameMap(placements[placements.length - 1].slots, map)) {
          placements.push({ step: steps.next, slots: map });
        }
        const copies = load.map((row, layer) => {
          const into = new Int32Array(experts);
          addLogical(map[layer], row, 0, into);
          return into;
        });
        steps.add(place, copies);
      });
      return steps.finish();
    });
  },
};
