import { randomStream, type TokenTrace, type Trace } from '../routing/index.js';

/** Loads of a part of a trace, [layer · experts + expert]. */
export type Loads = Float64Array;

/** What one pass over a trace collects. */
export interface Observed {
  layers: number;
  experts: number;
  /** Tokens without padding; for counts, copies over topK. */
  tokens: number;
  padding: number;
  total: Loads;
  /** Parts that are drawn with replacement: sequences, or runs of them where there are many; else steps. */
  parts: { what: 'sequences' | 'steps' | 'none'; loads: Loads[]; domain: Uint16Array | null; whole: boolean };
  /** Share of a token's experts that the token before it in its sequence chose too; null without sequences. */
  reuse: number | null;
  /** How far a layer's experts say which ones follow in the next layer, and what chance would show. */
  affinity: { distance: number; chance: number } | null;
}

/** Numbers that loads of parts may take. */
const MOST_PART_LOADS = 2 ** 23;
/** Numbers that the transitions between layers may take. */
const MOST_TRANSITIONS = 2 ** 24;
/** Tokens among which a stranger's choices are drawn. */
const STRANGERS = 1024;

/** First token, and first sequence, after a trace's calibration part, which nothing here counts. */
export function afterCalibration({ batches, sequenceStarts }: TokenTrace): {
  token: number;
  sequence: number;
} {
  const token = batches === null ? 0 : batches.starts[batches.calibrationSteps];
  const sequence = sequenceStarts?.findIndex((start) => start >= token) ?? 0;
  return { token, sequence };
}

export function observe(trace: Trace): Observed {
  return trace.kind === 'tokens' ? observeTokens(trace) : observeSteps(trace);
}

function observeSteps(trace: Extract<Trace, { kind: 'counts' }>): Observed {
  const { experts, layerIds, topK } = trace.header;
  const layers = layerIds.length;
  const steps = trace.steps.filter(({ calibration }) => !calibration);
  const total = new Float64Array(layers * experts);
  const keep = steps.length * total.length <= MOST_PART_LOADS;
  const loads: Loads[] = [];
  let padding = 0;
  for (const step of steps) {
    const own = new Float64Array(total.length);
    step.layers.forEach((counts, layer) => {
      for (let i = 0; i < counts.length; i++) own[layer * experts + (i % experts)] += counts[i];
    });
    for (let i = 0; i < own.length; i++) total[i] += own[i];
    for (const copies of step.padding?.[0] ?? []) padding += copies;
    if (keep) loads.push(own);
  }
  let copies = 0;
  for (let e = 0; e < experts; e++) copies += total[e];
  return {
    layers,
    experts,
    tokens: Math.round(copies / topK),
    padding: Math.round(padding / topK),
    total,
    parts: { what: keep ? 'steps' : 'none', loads, domain: null, whole: true },
    reuse: null,
    affinity: null,
  };
}

function observeTokens(trace: TokenTrace): Observed {
  const { header, rows, sequenceStarts, sequenceDomains, padding } = trace;
  const { experts, topK, layerIds } = header;
  const layers = layerIds.length;
  const size = layers * experts;
  const perToken = layers * topK;
  const counted = afterCalibration(trace);
  const sequences = sequenceStarts === null ? 0 : sequenceStarts.length - 1 - counted.sequence;
  const partCount = Math.min(sequences, Math.max(1, Math.floor(MOST_PART_LOADS / size)));
  const loads = Array.from({ length: partCount }, () => new Float64Array(size));
  const total = new Float64Array(size);
  const seesTransitions = (layers - 1) * experts * experts <= MOST_TRANSITIONS && layers > 1;
  const transitions = new Uint32Array(seesTransitions ? (layers - 1) * experts * experts : 0);
  const strangers = new Uint32Array(transitions.length);
  const seen = new Uint16Array(STRANGERS * perToken);
  const random = randomStream('inspect', 'strangers');
  const previous = new Uint16Array(perToken);
  let reused = 0;
  let compared = 0;
  let tokens = 0;
  let { sequence } = counted;
  let hasPrevious = false;
  for (let { token } = counted; token < trace.tokens; token++) {
    while (sequenceStarts && token >= sequenceStarts[sequence + 1]) {
      sequence++;
      hasPrevious = false;
    }
    if (padding?.[token] === 1) continue;
    const picks = rows.block(Math.floor(token / rows.blockTokens)).experts;
    const at = (token % rows.blockTokens) * perToken;
    const part =
      partCount > 0 ? loads[Math.floor(((sequence - counted.sequence) * partCount) / sequences)] : null;
    const stranger = Math.floor(random() * Math.min(tokens, STRANGERS)) * perToken;
    for (let layer = 0; layer < layers; layer++) {
      const first = layer * topK;
      for (let j = 0; j < topK; j++) {
        const expert = picks[at + first + j];
        total[layer * experts + expert]++;
        if (part) part[layer * experts + expert]++;
        if (hasPrevious && includes(previous, first, topK, expert)) reused++;
        if (seesTransitions && layer + 1 < layers) {
          const row = (layer * experts + expert) * experts;
          for (let k = first + topK; k < first + 2 * topK; k++) {
            transitions[row + picks[at + k]]++;
            if (tokens > 0) strangers[row + seen[stranger + k]]++;
          }
        }
      }
    }
    if (hasPrevious) compared += perToken;
    const place = (tokens % STRANGERS) * perToken;
    for (let i = 0; i < perToken; i++) previous[i] = seen[place + i] = picks[at + i];
    hasPrevious = sequenceStarts !== null;
    tokens++;
  }
  return {
    layers,
    experts,
    tokens,
    padding: trace.tokens - counted.token - tokens,
    total,
    parts: {
      what: sequences > 0 ? 'sequences' : 'none',
      loads,
      domain: partCount === sequences ? (sequenceDomains?.subarray(counted.sequence) ?? null) : null,
      whole: partCount === sequences,
    },
    reuse: compared > 0 ? reused / compared : null,
    affinity:
      seesTransitions && tokens > 1
        ? {
            distance: dependence(transitions, layers - 1, experts),
            chance: dependence(strangers, layers - 1, experts),
          }
        : null,
  };
}

function includes(values: Uint16Array, from: number, count: number, wanted: number): boolean {
  for (let i = from; i < from + count; i++) if (values[i] === wanted) return true;
  return false;
}

/** Distance between pairs of experts as they follow each other and as if they did not know of each other; mean over layers. */
function dependence(pairs: Uint32Array, layers: number, experts: number): number {
  let sum = 0;
  const columns = new Float64Array(experts);
  for (let layer = 0; layer < layers; layer++) {
    const first = layer * experts * experts;
    const rows = new Float64Array(experts);
    columns.fill(0);
    let total = 0;
    for (let i = 0; i < experts; i++) {
      for (let j = 0; j < experts; j++) {
        const count = pairs[first + i * experts + j];
        rows[i] += count;
        columns[j] += count;
        total += count;
      }
    }
    let distance = 0;
    for (let i = 0; i < experts; i++) {
      for (let j = 0; j < experts; j++) {
        distance += Math.abs(pairs[first + i * experts + j] - (rows[i] * columns[j]) / total);
      }
    }
    sum += distance / 2 / total;
  }
  return sum / layers;
}
