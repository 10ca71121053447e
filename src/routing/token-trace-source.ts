import type { Batching, BatchingSpec, Sequence } from './batching/batching.js';
import { batchings, type BatchingKind } from './batching/index.js';
import { CandidateTable } from './candidates.js';
import { randomStream } from './random.js';
import { addLoads, type Calibration, type LayerBatch, type RoutingSource } from './source.js';
import { phases, TraceError, type Phase, type TokenTrace } from './trace/trace.js';

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
  /** Whether tokens (or copies) that are padding are replayed too. */
  padding: boolean;
  /** Replay only the tokens (or steps) of this phase; null: of both. */
  phase: Phase | null;
  /** Replay only this part of the recording, in shares of its tokens (or steps); null: all. */
  part?: readonly [from: number, to: number] | null;
  /** Choices of the router, where the recording holds more experts of every token: all of them are candidates. */
  topK?: number | null;
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
  const split = splitCalibration(trace, spec);
  const steps =
    spec.batching === 'recorded' ? recordedSteps(trace, split, spec) : batchedSteps(trace, split, spec);
  return replay(trace, spec, split, steps);
}

function replay(trace: TokenTrace, spec: ReplaySpec, split: Split, steps: Steps): RoutingSource {
  const { header } = trace;
  const { gpus, layers } = spec;
  const { experts } = header;
  const topK = spec.topK ?? header.topK;
  const notes: string[] = [...header.notes, ...leftOutNotes(trace, spec, split)];
  if (spec.resample) notes.push(coverageNote(split, steps, gpus));
  return {
    gpus,
    experts,
    topK,
    layerIds: layers.map((layer) => header.layerIds[layer]),
    steps: steps.count,
    tokensPerGpu: steps.tokensPerGpu,
    hasTokens: true,
    hasGateWeights: trace.rows.hasWeights,
    hasPhases: trace.phase !== null,
    hasPadding: trace.padding !== null && spec.padding,
    ...(topK < header.topK ? { candidates: header.topK } : {}),
    importance: header.importance ? layers.map((layer) => header.importance![layer]) : null,
    notes,
    calibration: (share) => calibrate(trace, spec, share),
    resample:
      split.sequences && spec.batching !== 'recorded'
        ? (seed) => resampled(trace, spec, split, steps, seed)
        : null,
    start() {
      const iterator = steps.start();
      const collector = new Collector(trace, layers, gpus, topK, spec.padding ? trace.padding : null);
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
            ...(trace.phase && { phase: phaseOf(trace.phase, tokens) }),
          };
        },
      };
    },
  };
}

/** What engines take a batch for: prefill, as soon as one of its tokens is. */
function phaseOf(phaseOfToken: Uint8Array, tokens: Int32Array): Phase {
  const prefill = phases.indexOf('prefill');
  return tokens.some((token) => phaseOfToken[token] === prefill) ? 'prefill' : 'decode';
}

/** Fills the batches of all replayed layers from token numbers; its arrays are reused. */
class Collector {
  readonly bySource: Int32Array;
  readonly layers: LayerBatch[];
  private experts: Uint16Array[];
  private weights: (Float32Array | null)[];
  private candidates: (CandidateTable | null)[];
  private sources = new Uint16Array(0);

  constructor(
    private readonly trace: TokenTrace,
    private readonly layerIndices: readonly number[],
    gpus: number,
    private readonly topK: number,
    private readonly isPadding: Uint8Array | null = null,
  ) {
    this.bySource = new Int32Array(gpus);
    this.experts = layerIndices.map(() => new Uint16Array(0));
    this.weights = layerIndices.map(() => null);
    this.candidates = layerIndices.map(() => null);
    this.layers = layerIndices.map((_, layer) => ({
      layer,
      counts: new Int32Array(gpus * trace.header.experts),
      tokens: null,
      ...(isPadding && { padding: new Int32Array(trace.header.experts) }),
    }));
  }

  collect(tokens: Int32Array, source: ArrayLike<number>): void {
    const { experts: expertCount, topK: recorded, layerIds } = this.trace.header;
    const { topK } = this;
    if (this.sources.length !== tokens.length) this.allocate(tokens.length);
    this.bySource.fill(0);
    for (let i = 0; i < tokens.length; i++) {
      this.sources[i] = source[i];
      this.bySource[source[i]]++;
    }
    for (const { counts, padding } of this.layers) {
      counts.fill(0);
      padding?.fill(0);
    }
    const { rows } = this.trace;
    const { blockTokens } = rows;
    const chosen = this.layerIndices;
    let first = 0;
    let end = 0;
    let block = rows.block(0);
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if (token < first || token >= end) {
        const index = Math.floor(token / blockTokens);
        block = rows.block(index);
        first = index * blockTokens;
        end = first + blockTokens;
      }
      const row = this.sources[i] * expertCount;
      for (let layer = 0; layer < chosen.length; layer++) {
        const { counts, padding } = this.layers[layer];
        const filler = padding && this.isPadding![token] === 1 ? padding : null;
        const experts = this.experts[layer];
        const weights = this.weights[layer];
        const from = ((token - first) * layerIds.length + chosen[layer]) * recorded;
        const candidates = this.candidates[layer];
        if (candidates) {
          candidates.take(i, block.experts, block.weights!, from);
          for (let j = 0; j < topK; j++) {
            const expert = candidates.experts[i * recorded + j];
            experts[i * topK + j] = expert;
            counts[row + expert]++;
            if (filler) filler[expert]++;
            weights![i * topK + j] = candidates.scores[i * recorded + j];
          }
          continue;
        }
        for (let j = 0; j < topK; j++) {
          const expert = block.experts[from + j];
          experts[i * topK + j] = expert;
          counts[row + expert]++;
          if (filler) filler[expert]++;
          if (weights) weights[i * topK + j] = block.weights![from + j];
        }
      }
    }
  }

  private allocate(count: number): void {
    const { topK } = this;
    const { topK: recorded } = this.trace.header;
    this.sources = new Uint16Array(count);
    this.experts = this.experts.map(() => new Uint16Array(count * topK));
    this.weights = this.weights.map(() =>
      this.trace.rows.hasWeights ? new Float32Array(count * topK) : null,
    );
    this.candidates = this.candidates.map(() =>
      topK < recorded ? new CandidateTable(count, recorded) : null,
    );
    this.layers.forEach((batch, layer) => {
      batch.tokens = {
        count,
        topK,
        experts: this.experts[layer],
        source: this.sources,
        weights: this.weights[layer],
        candidates: this.candidates[layer] ?? undefined,
      };
    });
  }
}

/** Tokens up to `end` are for calibration; `sequences` are those after it that are replayed. */
interface Split {
  /** First token that is replayed, and the one after the last. */
  end: number;
  until: number;
  sequences: Sequence[] | null;
  /** Tokens after `end` that are replayed. */
  tokens: number;
}

/** Whether a token is replayed, given its padding and phase; null: every token is. */
function filterOf(
  { padding, phase }: TokenTrace,
  spec: Pick<ReplaySpec, 'padding' | 'phase'>,
): ((token: number) => boolean) | null {
  const without = spec.padding ? null : padding;
  const only = spec.phase === null ? null : phase;
  if (without === null && only === null) return null;
  const wanted = spec.phase === null ? -1 : phases.indexOf(spec.phase);
  return (token) => (without === null || without[token] === 0) && (only === null || only[token] === wanted);
}

function leftOutNotes(trace: TokenTrace, { padding, phase }: ReplaySpec, split: Split): string[] {
  const all = split.until - split.end;
  if (split.tokens === all) return [];
  const reasons = [
    ...(trace.padding && !padding ? ["padding (padding: 'include' replays it)"] : []),
    ...(trace.phase && phase !== null ? [`not ${phase}`] : []),
  ];
  return [`${all - split.tokens} of ${all} recorded tokens are left out: ${reasons.join(', or ')}`];
}

/** Cuts the first share of the tokens off, in whole sequences (steps where batches were recorded). */
function splitCalibration(trace: TokenTrace, spec: ReplaySpec): Split {
  const share = spec.calibrationShare;
  const end = Math.max(calibrationEnd(trace, share), partStart(trace, spec.part?.[0] ?? 0));
  const until = partStart(trace, spec.part?.[1] ?? 1);
  const replayed = filterOf(trace, spec);
  let tokens = Math.max(0, until - end);
  if (replayed !== null) {
    tokens = 0;
    for (let token = end; token < until; token++) if (replayed(token)) tokens++;
  }
  if (tokens === 0 && end < trace.tokens && end >= until) {
    throw new TraceError(
      'part',
      `${JSON.stringify(spec.part)}, of which nothing is left after calibration on share ${share}`,
      'a later part, or a smaller calibrationShare',
    );
  }
  if (tokens === 0) {
    const why = end >= trace.tokens ? `all in the calibration part (share ${share})` : 'all of them left out';
    throw new TraceError(
      '',
      `${trace.tokens} tokens, ${why}, none left to replay`,
      end >= trace.tokens
        ? 'a smaller calibrationShare, or a longer recording'
        : 'another phase, or padding included',
    );
  }
  const starts = trace.sequenceStarts;
  const sequences: Sequence[] = [];
  for (let i = 0; starts !== null && i + 1 < starts.length; i++) {
    if (starts[i] >= end && starts[i] < until) pushKept(starts[i], starts[i + 1], replayed, sequences);
  }
  return { end, until, sequences: starts === null ? null : sequences, tokens };
}

/** The token that a part begins with, at the start of a sequence (or step) where there are any. */
function partStart({ tokens, sequenceStarts, batches }: TokenTrace, share: number): number {
  const wanted = share * tokens;
  const starts = batches?.starts ?? sequenceStarts;
  return starts ? (starts.find((start) => start >= wanted) ?? tokens) : Math.round(wanted);
}

/** Adds the runs of replayed tokens from `start` to `end`. */
function pushKept(
  start: number,
  end: number,
  replayed: ((token: number) => boolean) | null,
  into: Sequence[],
): void {
  if (replayed === null) {
    into.push([start, end]);
    return;
  }
  for (let token = start; token < end;) {
    while (token < end && !replayed(token)) token++;
    const first = token;
    while (token < end && replayed(token)) token++;
    if (token > first) into.push([first, token]);
  }
}

function calibrationEnd({ tokens, sequenceStarts, batches }: TokenTrace, share: number): number {
  if (batches && batches.calibrationSteps > 0) return batches.starts[batches.calibrationSteps];
  if (share === 0) return 0;
  const wanted = share * tokens;
  const starts = batches?.starts ?? sequenceStarts;
  return starts ? (starts.find((start) => start >= wanted) ?? tokens) : Math.ceil(wanted);
}

function calibrate(trace: TokenTrace, spec: ReplaySpec, share: number): Calibration {
  const end = calibrationEnd(trace, share);
  if (end === 0)
    throw new TraceError('', `no token to calibrate on in share ${share}`, 'a larger calibrationShare');
  const collector = new Collector(trace, spec.layers, spec.gpus, spec.topK ?? trace.header.topK);
  const every = Int32Array.from({ length: end }, (_, token) => token);
  const tokens = every.filter(filterOf(trace, spec) ?? (() => true));
  const { batches } = trace;
  const source = batches ? tokens.map((token) => batches.source[token]) : new Uint16Array(tokens.length);
  collector.collect(tokens, source);
  const { experts } = trace.header;
  const marked = batches !== null && batches.calibrationSteps > 0;
  return {
    loads: collector.layers.map(({ counts }) => addLoads(counts, experts, new Float64Array(experts))),
    tokens: tokens.length,
    layers: collector.layers,
    label: marked
      ? "the recording's marked part"
      : `the first ${end} of the recording's ${trace.tokens} tokens, in whole ${batches ? 'steps' : 'sequences'}`,
  };
}

function batchedSteps(trace: TokenTrace, split: Split, spec: ReplaySpec): Steps {
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
    sequences: split.sequences ?? withoutSequences(trace, split, spec),
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

/** Tokens of a recording without sequences: each one of its own where they are drawn anew, else in runs. */
function withoutSequences(trace: TokenTrace, split: Split, spec: ReplaySpec): Sequence[] {
  const runs: Sequence[] = [];
  pushKept(split.end, split.until, filterOf(trace, spec), runs);
  if (!spec.resample) return runs;
  return runs.flatMap(([start, end]) =>
    Array.from({ length: end - start }, (_, i) => [start + i, start + i + 1] as const),
  );
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
    `${asked} steps of ${what}, but after calibration the recording holds ${split.tokens} tokens` +
      `${split.sequences ? ` in ${split.sequences.length} sequences` : ''}, enough for ${available} such steps`,
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
  const replayed = filterOf(trace, spec);
  const { starts, source } = batches;
  const tokensOf = (step: number): Int32Array => {
    const all = Int32Array.from({ length: starts[step + 1] - starts[step] }, (_, i) => starts[step] + i);
    return replayed === null ? all : all.filter(replayed);
  };
  const recorded: number[] = [];
  let firstTokens = 0;
  for (let step = 0; step + 1 < starts.length; step++) {
    if (starts[step] < split.end || starts[step] >= split.until) continue;
    const left = replayed === null ? starts[step + 1] - starts[step] : tokensOf(step).length;
    if (left === 0) continue;
    if (recorded.length === 0) firstTokens = left;
    recorded.push(step);
  }
  const available = recorded.length;
  const count = spec.steps ?? available;
  if (count > available) {
    throw new TraceError('', `${count} steps asked for`, `at most the ${available} recorded`);
  }
  const tokensPerGpu = Math.round(firstTokens / spec.gpus);
  checkRecordedSize(spec.tokensPerGpu, tokensPerGpu);
  return {
    count,
    tokensPerGpu,
    *start() {
      for (const step of recorded.slice(0, count)) {
        const tokens = tokensOf(step);
        yield {
          tokens,
          source:
            replayed === null
              ? source.subarray(starts[step], starts[step + 1])
              : tokens.map((token) => source[token]),
        };
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
  return replay(trace, again, drawn, batchedSteps(trace, drawn, again));
}
