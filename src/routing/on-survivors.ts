import { CandidateTable } from './candidates.js';
import { NO_EXPERT, type LayerBatch, type RoutingSource, type TokenTable } from './source.js';

/** What becomes of the tokens of GPUs that are lost: the others take them in turn, or they are gone. */
export type LostRequests = 'moved' | 'dropped';

/**
 * The same steps on some of their source GPUs, which are numbered anew in their order.
 * @param alive numbers of the GPUs that are left, rising
 */
export function onSurvivors(
  source: RoutingSource,
  alive: readonly number[],
  requests: LostRequests,
): RoutingSource {
  const survivors = new Survivors(source, alive, requests);
  const kept = requests === 'moved' ? source.gpus / alive.length : 1;
  return {
    ...source,
    gpus: alive.length,
    tokensPerGpu: Math.round(source.tokensPerGpu * kept),
    resample: null,
    // Copies are dealt whether they are padding or not.
    hasPadding: false,
    calibration(share) {
      const { layers, ...known } = source.calibration(share);
      return { ...known, layers: layers.map((batch) => survivors.batch(batch)) };
    },
    start() {
      const stream = source.start();
      return {
        next() {
          const step = stream.next();
          if (step === null) return null;
          const layers = step.layers.map((batch) => survivors.batch(batch));
          const tokensBySource = survivors.tokens(step.tokensBySource);
          return { ...step, layers, tokensBySource, tokens: tokensBySource.reduce((a, b) => a + b, 0) };
        },
      };
    },
  };
}

/** Who has which tokens after a loss. */
class Survivors {
  /** New number by old one; −1: lost. */
  private readonly numbers: Int32Array;

  constructor(
    private readonly source: RoutingSource,
    private readonly alive: readonly number[],
    private readonly requests: LostRequests,
  ) {
    this.numbers = new Int32Array(source.gpus).fill(-1);
    alive.forEach((gpu, i) => (this.numbers[gpu] = i));
  }

  /** Tokens by GPU: those of lost ones are dealt in turn. */
  tokens(bySource: Int32Array): Int32Array {
    const { alive, requests } = this;
    const own = Int32Array.from(alive, (gpu) => bySource[gpu]);
    if (requests === 'dropped') return own;
    const lost = bySource.reduce((sum, tokens, gpu) => (this.numbers[gpu] < 0 ? sum + tokens : sum), 0);
    return own.map((tokens, i) => tokens + dealt(lost, alive.length, i));
  }

  batch({ layer, counts, tokens, pruned }: LayerBatch): LayerBatch {
    const table = tokens && this.table(tokens);
    return {
      layer,
      tokens: table,
      counts: table === null ? this.dealCounts(counts) : this.count(table),
      ...(pruned && { pruned }),
    };
  }

  private table({ count, topK, experts, source, weights, candidates }: TokenTable): TokenTable {
    const { numbers, alive, requests } = this;
    let next = 0;
    const owners = new Int32Array(count);
    let kept = 0;
    for (let token = 0; token < count; token++) {
      let owner = numbers[source[token]];
      if (owner < 0 && requests === 'moved') owner = next++ % alive.length;
      owners[token] = owner;
      if (owner >= 0) kept++;
    }
    const table: TokenTable = {
      count: kept,
      topK,
      experts: new Uint16Array(kept * topK),
      source: new Uint16Array(kept),
      weights: weights && new Float32Array(kept * topK),
      ...(candidates && { candidates: new CandidateTable(kept, candidates.count) }),
    };
    let at = 0;
    for (let token = 0; token < count; token++) {
      if (owners[token] < 0) continue;
      const from = token * topK;
      table.experts.set(experts.subarray(from, from + topK), at * topK);
      if (candidates) table.candidates!.copy(at, candidates, token);
      if (table.weights !== null) table.weights.set(weights!.subarray(from, from + topK), at * topK);
      table.source[at++] = owners[token];
    }
    return table;
  }

  private count({ count, topK, experts, source }: TokenTable): Int32Array {
    const counts = new Int32Array(this.alive.length * this.source.experts);
    for (let token = 0; token < count; token++) {
      const row = source[token] * this.source.experts;
      for (let j = 0; j < topK; j++) {
        const expert = experts[token * topK + j];
        if (expert !== NO_EXPERT) counts[row + expert]++;
      }
    }
    return counts;
  }

  /** Where tokens are not known, the copies of every expert are dealt, each going on where the last one ended. */
  private dealCounts(counts: Int32Array): Int32Array {
    const { alive, numbers, requests, source } = this;
    const { experts } = source;
    const own = new Int32Array(alive.length * experts);
    alive.forEach((gpu, i) => own.set(counts.subarray(gpu * experts, (gpu + 1) * experts), i * experts));
    if (requests === 'dropped') return own;
    let next = 0;
    for (let gpu = 0; gpu < numbers.length; gpu++) {
      if (numbers[gpu] >= 0) continue;
      for (let expert = 0; expert < experts; expert++) {
        const copies = counts[gpu * experts + expert];
        for (let i = 0; i < alive.length; i++) {
          own[((next + i) % alive.length) * experts + expert] += dealt(copies, alive.length, i);
        }
        next = (next + copies) % alive.length;
      }
    }
    return own;
  }
}

/** What the i-th of some gets of things that are dealt in turn. */
function dealt(things: number, among: number, i: number): number {
  return Math.floor(things / among) + (i < things % among ? 1 : 0);
}
