import type { ByteSource } from '../../bytes.js';
import { TraceError } from '../../trace/trace.js';
import { readJsonFile } from '../containers/json.js';
import { openNpz } from '../containers/npz.js';
import { checkShape, checkWhole } from '../containers/tensor.js';
import { CountSteps } from '../count-steps.js';
import { inFile, type TraceFormat } from '../format.js';

/** A layer's record: which microbatch, and copies by logical expert before balancing. */
interface LayerLoads {
  place: string;
  microbatch: number;
  layer: number;
  loads: Int32Array;
}

/**
 * UltraEP's own trace (Dots-Infra/UltraEP, ultra_ep_trace_v1): `<trace>.manifest.json` beside chunks
 * `<trace>.chunk<number>.npz`, a row for every layer of every microbatch. The loads before balancing are read.
 */
export const ultraep: TraceFormat = {
  name: 'ultraep',
  summary: 'UltraEP traces: *.manifest.json with *.chunk*.npz',
  detects: (files) => files.some(({ members }) => members?.includes('pre_logical_loads.npy')),
  async read(job) {
    const manifest = job.files.find(({ name }) => name.endsWith('.manifest.json'));
    if (manifest) {
      await inFile(manifest, async () => {
        if (JSON.stringify(await readJsonFile(manifest)).includes('ultra_ep_trace_v1')) return;
        throw new TraceError('', 'no ultra_ep_trace_v1', 'a manifest of that version');
      });
    }
    const chunks = job.files
      .filter(({ name }) => name.endsWith('.npz'))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const { layerIds, width } = await firstMicrobatch(chunks);
    const experts = job.experts(width);
    const topK = job.topK(undefined, experts);
    job.note('copies are of all ranks: every expert’s copies are split evenly over the GPUs');
    const steps = new CountSteps(job, { experts, topK, layerIds });
    const byLayer = new Map<number, Int32Array>();
    let current: LayerLoads | null = null;
    const flush = () => {
      if (current === null) return;
      const missing = layerIds.find((layer) => !byLayer.has(layer));
      if (missing !== undefined || byLayer.size !== layerIds.length) {
        throw new TraceError(
          current.place,
          `other layers in microbatch ${current.microbatch}`,
          `layers ${layerIds.join(', ')}`,
        );
      }
      steps.add(
        `microbatch ${current.microbatch}`,
        layerIds.map((layer) => byLayer.get(layer)!),
      );
      byLayer.clear();
    };
    for await (const row of rowsOf(chunks)) {
      if (row.loads.length !== experts)
        throw new TraceError(row.place, `${row.loads.length} experts`, String(experts));
      if (current !== null && (row.microbatch !== current.microbatch || byLayer.has(row.layer))) flush();
      current = row;
      byLayer.set(row.layer, row.loads);
    }
    flush();
    return steps.finish();
  },
};

async function* rowsOf(chunks: readonly ByteSource[]): AsyncGenerator<LayerLoads> {
  for (const file of chunks) {
    const { layers, microbatches, loads } = await inFile(file, async () => {
      const archive = await openNpz(file);
      const read = async (name: string, wanted: (number | null)[]) => {
        const tensor = await archive.array(name);
        checkShape(name, tensor.shape, wanted);
        checkWhole(name, tensor.data, 2 ** 31);
        return tensor;
      };
      const layers = await read(archive.has('virtual_layers') ? 'virtual_layers' : 'layers', [null]);
      const rows = layers.shape[0];
      return {
        layers,
        microbatches: await read('microbatches', [rows]),
        loads: await read('pre_logical_loads', [rows, null]),
      };
    });
    const [rows, experts] = loads.shape;
    for (let row = 0; row < rows; row++) {
      yield {
        place: `${file.name}, row ${row}`,
        microbatch: microbatches.data[row],
        layer: layers.data[row],
        loads: Int32Array.from({ length: experts }, (_, e) => loads.data[row * experts + e]),
      };
    }
  }
}

/** Layers of the first microbatch, which all must have, and the number of experts. */
async function firstMicrobatch(
  chunks: readonly ByteSource[],
): Promise<{ layerIds: number[]; width: number }> {
  const layers = new Set<number>();
  let first: LayerLoads | null = null;
  for await (const row of rowsOf(chunks)) {
    if (first !== null && (row.microbatch !== first.microbatch || layers.has(row.layer))) break;
    first ??= row;
    layers.add(row.layer);
  }
  if (first === null) throw new TraceError('', 'no rows', 'at least one');
  return { layerIds: [...layers].sort((a, b) => a - b), width: first.loads.length };
}
