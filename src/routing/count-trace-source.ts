import { addLoads, type Calibration, type LayerBatch, type RoutingSource } from './source.js';
import { checkRecordedSize, type ReplaySpec } from './token-trace-source.js';
import { TraceError, type CountedStep, type CountTrace } from './trace/trace.js';

/**
 * Replays a trace of counts in its own steps.
 * @throws TraceError where the trace does not hold what the replay asks for
 */
export function countTraceSource(trace: CountTrace, spec: ReplaySpec): RoutingSource {
  const { header } = trace;
  const { gpus, layers } = spec;
  if (spec.batching !== 'recorded') {
    throw new TraceError('batching', spec.batching, 'recorded, since this is a recording of counts');
  }
  if (spec.resample)
    throw new TraceError('resample', 'true', 'false: a recording of counts has no sequences to draw');
  if (header.gpus !== undefined && header.gpus !== gpus) {
    throw new TraceError(
      '',
      `${header.gpus} source GPUs in the recording, ${gpus} in the cluster`,
      `cluster.gpus = ${header.gpus}`,
    );
  }
  const { experts, topK } = header;
  const calibrationSteps = countCalibrationSteps(trace, spec.calibrationShare);
  const mixed = trace.steps.some(({ phase }) => phase !== undefined);
  const isReplayed = ({ phase }: CountedStep) => !mixed || spec.phase === null || phase === spec.phase;
  const [from, to] = spec.part ?? [0, 1];
  const recorded = trace.steps.slice(
    Math.max(calibrationSteps, Math.ceil(from * trace.steps.length)),
    Math.ceil(to * trace.steps.length),
  );
  const steps = recorded.filter(isReplayed);
  if (steps.length === 0)
    throw new TraceError(
      '',
      `${trace.steps.length} recorded steps, all in the calibration part, outside the part to replay, or of another phase`,
      'a smaller calibrationShare, another part or phase, or a longer recording',
    );
  const count = spec.steps ?? steps.length;
  if (count > steps.length) {
    throw new TraceError('', `${count} steps asked for`, `at most the ${steps.length} recorded`);
  }
  const hasPadding = spec.padding && steps.some(({ padding }) => padding !== undefined);
  const batchOf = (step: CountedStep) =>
    layers.map((layer, i): LayerBatch => ({
      layer: i,
      counts: bySource(copiesWith(step, layer, spec.padding), gpus, experts),
      tokens: null,
      ...(hasPadding && { padding: byExpert(step.padding?.[layer], experts) }),
    }));
  const tokensPerGpu = Math.round(copiesOf(copiesWith(steps[0], 0, spec.padding)) / topK / gpus);
  checkRecordedSize(spec.tokensPerGpu, tokensPerGpu);

  return {
    gpus,
    experts,
    topK,
    layerIds: layers.map((layer) => header.layerIds[layer]),
    steps: count,
    tokensPerGpu,
    hasTokens: false,
    hasGateWeights: false,
    hasPhases: mixed,
    hasPadding,
    importance: header.importance ? layers.map((layer) => header.importance![layer]) : null,
    notes: [
      ...header.notes,
      ...(steps.length < recorded.length
        ? [
            `${recorded.length - steps.length} of ${recorded.length} recorded steps are left out: not ${spec.phase}`,
          ]
        : []),
    ],
    resample: null,
    calibration(share): Calibration {
      const used = countCalibrationSteps(trace, share);
      const batches = trace.steps.slice(0, used).map(batchOf);
      const summed = layers.map((_, layer): LayerBatch => {
        const counts = new Int32Array(gpus * experts);
        for (const batch of batches) batch[layer].counts.forEach((copies, i) => (counts[i] += copies));
        return { layer, counts, tokens: null };
      });
      return {
        loads: summed.map(({ counts }) => addLoads(counts, experts, new Float64Array(experts))),
        tokens: copiesOf(summed[0].counts) / topK,
        layers: summed,
        label: trace.steps[0].calibration
          ? "the recording's marked part"
          : `the first ${used} recorded steps`,
      };
    },
    start() {
      let step = 0;
      const tokensBySource = new Int32Array(gpus);
      return {
        next() {
          if (step >= count) return null;
          const { phase } = steps[step];
          const batches = batchOf(steps[step]);
          const { counts } = batches[0];
          for (let gpu = 0; gpu < gpus; gpu++) {
            const copies = copiesOf(counts.subarray(gpu * experts, (gpu + 1) * experts));
            tokensBySource[gpu] = Math.round(copies / topK);
          }
          return {
            step: step++,
            tokens: Math.round(copiesOf(counts) / topK),
            tokensBySource,
            layers: batches,
            ...(mixed && { phase: phase ?? 'decode' }),
          };
        },
      };
    },
  };
}

function countCalibrationSteps({ steps }: CountTrace, share: number): number {
  const marked = steps.findIndex(({ calibration }) => !calibration);
  if (marked !== 0) return marked < 0 ? steps.length : marked;
  return Math.ceil(share * steps.length);
}

/** Copies of a layer, with those of padding where they are asked for. */
function copiesWith({ layers, padding }: CountedStep, layer: number, withPadding: boolean): Int32Array {
  if (!withPadding || padding === undefined) return layers[layer];
  return layers[layer].map((copies, i) => copies + padding[layer][i]);
}

function copiesOf(counts: Int32Array): number {
  let sum = 0;
  for (const copies of counts) sum += copies;
  return sum;
}

/** Copies by expert of all sources. */
function byExpert(counts: Int32Array | undefined, experts: number): Int32Array {
  const sums = new Int32Array(experts);
  counts?.forEach((copies, i) => (sums[i % experts] += copies));
  return sums;
}

/** Counts of one unknown source spread evenly over the GPUs, what does not divide going to each in turn. */
function bySource(counts: Int32Array, gpus: number, experts: number): Int32Array {
  if (counts.length === gpus * experts) return counts;
  const spread = new Int32Array(gpus * experts);
  let next = 0;
  for (let expert = 0; expert < experts; expert++) {
    const even = Math.floor(counts[expert] / gpus);
    for (let gpu = 0; gpu < gpus; gpu++) spread[gpu * experts + expert] = even;
    for (let rest = counts[expert] - even * gpus; rest > 0; rest--) {
      spread[next * experts + expert]++;
      next = (next + 1) % gpus;
    }
  }
  return spread;
}
