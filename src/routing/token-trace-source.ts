import type { Batching, BatchingSpec, Sequence } from './batching/batching.js';
import { batchings, type BatchingKind } from './batching/index.js';
import { randomStream } from './random.js';
import { addLoads, type Calibration, type LayerBatch, type RoutingSource } from './source.js';
import { TraceError, type TokenTrace } from './trace/trace.js';

/** How a trace is replayed. */
export interface ReplaySpec {
  gpus: number;
  /** Tokens per GPU and step; null: as recorded. */
  tokensPerGpu: number | null;
  /** Steps; null: as many as there are. */
  steps: number | null;
  /** Indices of the recorded layers to replay. */
  layers: readonly number[];
  batching: BatchingKind;
  resample: boolean;
  /** Share of the tokens (or steps) that goes to calibration and is not replayed; 0 where nobody asks. */
  calibrationShare: number;
  seed: number | string;
}

/** A pass over steps: which tokens, from which GPUs. */
interface Steps {
  count: number;
  tokensPerGpu: number;
  start(): Generator<{ tokens: Int32Array; source: ArrayLike<number> }, void>;
}

/**
 * Replays a token trace.
 * @throws TraceError where the trace does not hold what the replay asks for
 */
export function tokenTraceSource(trace: TokenTrace, spec: ReplaySpec): RoutingSource {
  const split = splitCalibration(trace, spec.calibrationShare);
  const steps = spec.batching === 'recorded' ? recordedSteps(trace, split, spec) : batchedSteps(split, spec);
  return replay(trace, spec, split, steps);
}

function replay(trace: TokenTrace, spec: ReplaySpec, split: Split, steps: Steps): RoutingSource {
  const { header } = trace;
  const { gpus, layers } = spec;
  const { experts, topK } = header;
  const notes: string[] = [...header.notes];
  if (spec.resample) notes.push(coverageNote(split, steps, gpus));
  return {
    gpus,
    experts,
    topK,
    layerIds: layers.map((layer) => header.layerIds[layer]),
    steps: steps.count,
    tokensPerGpu: steps.tokensPerGpu,
    hasTokens: true,
    hasGateWeights: trace.weights !== null,
    importance: header.importance ? layers.map((layer) => header.importance![layer]) : null,
    notes,
    calibration: (share) => calibrate(trace, spec, share),
    resample:
      split.sequences && spec.batching !== 'recorded'
        ? (seed) => resampled(trace, spec, split, steps, seed)
        : null,
    start() {
      const iterator = steps.start();
      const collector = new Collector(trace, layers, gpus);
      let step = 0;
      return {
        next() {
          if (step >= steps.count) return null;
          const { tokens, source } = iterator.next().value!;
          collector.collect(tokens, source);
          return {
            step: step++,
            tokens: tokens.length,
            tokensBySource: collector.bySource,
            layers: collector.layers,
          };
        },
      };
    },
  };
}

/** Fills the batches of all replayed layers from token numbers; its arrays are reused. */
class Collector {
  readonly bySource: Int32Array;
  readonly layers: LayerBatch[];
  private experts: Uint16Array[];
  private weights: (Float32Array | null)[];
  private sources = new Uint16Array(0);

  constructor(
    private readonly trace: TokenTrace,
    private readonly layerIndices: readonly number[],
    gpus: number,
  ) {
    this.bySource = new Int32Array(gpus);
    this.experts = layerIndices.map(() => new Uint16Array(0));
    this.weights = layerIndices.map(() => null);
    this.layers = layerIndices.map((_, layer) => ({
      layer,
      counts: new Int32Array(gpus * trace.header.experts),
      tokens: null,
    }));
  }

  collect(tokens: Int32Array, source: ArrayLike<number>): void {
    const { experts: expertCount, topK, layerIds } = this.trace.header;
    if (this.sources.length !== tokens.length) this.allocate(tokens.length);
    this.bySource.fill(0);
    for (let i = 0; i < tokens.length; i++) {
      this.sources[i] = source[i];
      this.bySource[source[i]]++;
    }
    const picks = this.trace.experts;
    this.layerIndices.forEach((layerIndex, layer) => {
      const { counts } = this.layers[layer];
      const experts = this.experts[layer];
      const weights = this.weights[layer];
      counts.fill(0);
      for (let i = 0; i < tokens.length; i++) {
        const from = (tokens[i] * layerIds.length + layerIndex) * topK;
        const row = this.sources[i] * expertCount;
        for (let j = 0; j < topK; j++) {
          const expert = picks[from + j];
          experts[i * topK + j] = expert;
          counts[row + expert]++;
          if (weights) weights[i * topK + j] = this.trace.weights![from + j];
        }
      }
    });
  }

  private allocate(count: number): void {
    const { topK } = this.trace.header;
    this.sources = new Uint16Array(count);
    this.experts = this.experts.map(() => new Uint16Array(count * topK));
    this.weights = this.weights.map(() => (this.trace.weights ? new Float32Array(count * topK) : null));
    this.layers.forEach((batch, layer) => {
      batch.tokens = {
        count,
        topK,
        experts: this.experts[layer],
        source: this.sources,
        weights: this.weights[layer],
      };
    });
  }
}

/** Tokens up to `end` are for calibration; `sequences` are those after it. */
interface Split {
  /** First token that is replayed. */
  end: number;
  sequences: Sequence[] | null;
  tokens: number;
}

/** Cuts the first share of the tokens off, in whole sequences (steps where batches were recorded). */
function splitCalibration(trace: TokenTrace, share: number): Split {
  const end = calibrationEnd(trace, share);
  if (end >= trace.tokens) {
    throw new TraceError(
      '',
      `${trace.tokens} tokens, all in the calibration part (share ${share}), none left to replay`,
      'a smaller calibrationShare, or a longer recording',
    );
  }
  const starts = trace.sequenceStarts;
  const sequences: Sequence[] | null = starts
    ? Array.from({ length: starts.length - 1 }, (_, i) => [starts[i], starts[i + 1]] as const).filter(
        ([start]) => start >= end,
      )
    : null;
  return { end, sequences, tokens: trace.tokens - end };
}

function calibrationEnd({ tokens, sequenceStarts, batches }: TokenTrace, share: number): number {
  if (batches) {
    const marked = batches.calibration.lastIndexOf(1) + 1;
    if (marked > 0) return marked;
  }
  if (share === 0) return 0;
  const wanted = share * tokens;
  if (batches) {
    let end = 0;
    while (end < tokens && (end < wanted || batches.step[end] === batches.step[end - 1])) end++;
    return end;
  }
  if (sequenceStarts) return sequenceStarts.find((start) => start >= wanted) ?? tokens;
  return Math.ceil(wanted);
}

function calibrate(trace: TokenTrace, spec: ReplaySpec, share: number): Calibration {
  const end = calibrationEnd(trace, share);
  if (end === 0)
    throw new TraceError('', `no token to calibrate on in share ${share}`, 'a larger calibrationShare');
  const collector = new Collector(trace, spec.layers, spec.gpus);
  const tokens = Int32Array.from({ length: end }, (_, token) => token);
  const source = trace.batches?.source ?? new Uint16Array(end);
  collector.collect(tokens, source);
  const { experts } = trace.header;
  const marked = trace.batches?.calibration[0] === 1;
  return {
    loads: collector.layers.map(({ counts }) => addLoads(counts, experts, new Float64Array(experts))),
    tokens: end,
    layers: collector.layers,
    label: marked
      ? "the recording's marked part"
      : `the first ${end} of the recording's ${trace.tokens} tokens, in whole ${trace.batches ? 'steps' : 'sequences'}`,
  };
}

function batchedSteps(split: Split, spec: ReplaySpec): Steps {
  const { tokensPerGpu } = spec;
  if (tokensPerGpu === null)
    throw new TraceError('', 'no workload.tokensPerGpu', `a whole number ≥ 1 for batching ${spec.batching}`);
  const batching: Batching = batchings.find(({ kind }) => kind === spec.batching)!;
  if (split.sequences === null && spec.batching !== 'shuffled') {
    throw new TraceError(
      '',
      `no sequences in the recording, but batching ${spec.batching} needs them`,
      'shuffled',
    );
  }
  const batchingSpec: BatchingSpec = {
    // Without sequences every token is one of its own.
    sequences:
      split.sequences ??
      Array.from({ length: split.tokens }, (_, i) => [split.end + i, split.end + i + 1] as const),
    gpus: spec.gpus,
    tokensPerGpu,
    resample: spec.resample,
    random: () => randomStream(spec.seed, `batching/${spec.batching}`),
  };
  const available = spec.resample ? Infinity : countSteps(batching, batchingSpec);
  const count = spec.steps ?? available;
  if (!Number.isFinite(count))
    throw new TraceError('', 'no workload.steps', 'a whole number ≥ 1 with resample: true');
  if (count > available || available === 0) {
    throw tooShort(batching, batchingSpec, split, Math.max(count, 1), available);
  }
  const source = Uint16Array.from({ length: spec.gpus * tokensPerGpu }, (_, i) =>
    Math.floor(i / tokensPerGpu),
  );
  return {
    count,
    tokensPerGpu,
    *start() {
      for (const tokens of batching.steps(batchingSpec)) yield { tokens, source };
    },
  };
}

function countSteps(batching: Batching, spec: BatchingSpec): number {
  let count = 0;
  for (const _ of batching.steps(spec)) count++;
  return count;
}

function tooShort(
  batching: Batching,
  spec: BatchingSpec,
  split: Split,
  asked: number,
  available: number,
): TraceError {
  const batch = spec.gpus * spec.tokensPerGpu;
  const what = batching.kind === 'decode-lockstep' ? `${batch} live sequences` : `${batch} tokens`;
  const most = mostTokensPerGpu(batching, spec, asked);
  const ways = [
    ...(available > 0 ? [`at most ${available} steps`] : []),
    ...(most > 0 ? [`at most ${most} tokens per GPU`] : []),
    'resample: true',
  ];
  return new TraceError(
    '',
    `${asked} steps of ${what}, but after calibration the recording holds ${split.tokens} tokens in ` +
      `${spec.sequences.length} sequences, enough for ${available} such steps`,
    ways.join(', or '),
  );
}

/** Most tokens per GPU for which the sequences last that many steps; 0: not even one. */
function mostTokensPerGpu(batching: Batching, spec: BatchingSpec, steps: number): number {
  let enough = 0;
  let tooMany = spec.tokensPerGpu;
  while (tooMany - enough > 1) {
    const tokensPerGpu = Math.floor((enough + tooMany) / 2);
    if (countSteps(batching, { ...spec, tokensPerGpu }) >= steps) enough = tokensPerGpu;
    else tooMany = tokensPerGpu;
  }
  return enough;
}

function recordedSteps(trace: TokenTrace, split: Split, spec: ReplaySpec): Steps {
  const { batches } = trace;
  if (batches === null) {
    throw new TraceError(
      '',
      "no steps in the recording, so batching 'recorded' can't be used",
      'the other batchings',
    );
  }
  if (trace.header.gpus !== spec.gpus) {
    throw new TraceError(
      '',
      `${trace.header.gpus} source GPUs in the recording, ${spec.gpus} in the cluster`,
      `cluster.gpus = ${trace.header.gpus} with batching 'recorded'`,
    );
  }
  const bounds = [split.end];
  for (let token = split.end + 1; token <= trace.tokens; token++) {
    if (token === trace.tokens || batches.step[token] !== batches.step[token - 1]) bounds.push(token);
  }
  const available = bounds.length - 1;
  const count = spec.steps ?? available;
  if (count > available) {
    throw new TraceError('', `${count} steps asked for`, `at most the ${available} recorded`);
  }
  const tokensPerGpu = Math.round((bounds[1] - bounds[0]) / spec.gpus);
  checkRecordedSize(spec.tokensPerGpu, tokensPerGpu);
  return {
    count,
    tokensPerGpu,
    *start() {
      for (let step = 0; step < count; step++) {
        const tokens = Int32Array.from(
          { length: bounds[step + 1] - bounds[step] },
          (_, i) => bounds[step] + i,
        );
        yield { tokens, source: batches.source.subarray(bounds[step], bounds[step + 1]) };
      }
    },
  };
}

/** @throws TraceError where a scenario asks for another batch size than was recorded */
export function checkRecordedSize(asked: number | null, recorded: number): void {
  if (asked !== null && asked !== recorded) {
    throw new TraceError(
      '',
      `${asked} tokens per GPU asked for, but the recording has ${recorded}`,
      `${recorded}, or none given, with batching 'recorded'`,
    );
  }
}

function coverageNote(split: Split, steps: Steps, gpus: number): string {
  const replayed = steps.count * steps.tokensPerGpu * gpus;
  return (
    `resampled: ${replayed} tokens replayed from ${split.tokens} recorded ones ` +
    `(${(replayed / split.tokens).toFixed(2)} times), whole sequences drawn with replacement`
  );
}

/** The same replay over as many sequences, drawn with replacement. */
function resampled(
  trace: TokenTrace,
  spec: ReplaySpec,
  split: Split,
  steps: Steps,
  seed: string,
): RoutingSource {
  const draw = randomStream(seed, 'sequences');
  const from = split.sequences!;
  const sequences = from.map(() => from[Math.floor(draw() * from.length)]);
  const again: ReplaySpec = {
    ...spec,
    steps: steps.count,
    tokensPerGpu: steps.tokensPerGpu,
    resample: true,
    seed,
  };
  const drawn: Split = { ...split, sequences };
  return replay(trace, again, drawn, batchedSteps(drawn, again));
}
