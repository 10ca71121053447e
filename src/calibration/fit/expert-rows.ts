import { randomStream, powerLawLoads } from '../../routing/index.js';
import type { MoeLayerRow, Timed } from '../measurements.js';

/** Rows of a tile of the grouped products of Hopper and later: what each expert's rows are rounded up to. */
export const TILE_ROWS = 128;

/** Draws over which the counts of a row with random routing are averaged. */
const DRAWS = 60;

/** What the cost form sees of a measured row: the work of the timed GPU. */
export interface StageRow {
  /** Rows of one shape share errors. */
  shape: string;
  /** Expert-parallel size and distribution, by which accuracy is told apart. */
  group: string;
  balanced: boolean;
  /** All that rows of different sizes have in common. */
  series: string;
  /** All that rows of one batch and sharding have in common, however their tokens are spread. */
  setting: string;
  hiddenSize: number;
  /** Expert hidden size on this GPU, after tensor parallelism. */
  expertHiddenSize: number;
  /** Experts on the GPU. */
  slots: number;
  rows: number;
  active: number;
  /** Rows with each expert's rounded up to whole tiles. */
  rounded: number;
  /** Tokens that enter, and choices per token. */
  tokens: number;
  topK: number;
  seconds: number;
}

type Work = Pick<StageRow, 'rows' | 'active' | 'rounded'>;

/** Work of an exactly known row. */
function workOf(counts: ArrayLike<number>, first: number, last: number): Work {
  let rows = 0;
  let active = 0;
  let rounded = 0;
  for (let e = first; e < last; e++) {
    const n = counts[e];
    if (n === 0) continue;
    rows += n;
    active++;
    rounded += Math.ceil(n / TILE_ROWS) * TILE_ROWS;
  }
  return { rows, active, rounded };
}

/**
 * Rows of published tables: expected work of the busiest GPU. The benchmarks' balanced routing lets token t
 * choose experts t + j · ⌈E/k⌉ (spread starts for few tokens) and times the first GPU; power laws draw loads
 * at random and time the busiest one, of which the mean over 60 draws is taken (ai-dynamo/aiconfigurator @
 * 095f58a, collector/helper.py).
 */
export function stageRowsOf(rows: readonly MoeLayerRow[]): StageRow[] {
  const known = new Map<string, Work>();
  return rows.map((row) => {
    const { tokens, experts, topK, expertParallel, distribution, hiddenSize, expertHiddenSize } = row;
    const key = [tokens, experts, topK, expertParallel, distribution].join();
    const sharding = [hiddenSize, expertHiddenSize, experts, topK, row.tensorParallel, expertParallel];
    let work = known.get(key);
    if (work === undefined) known.set(key, (work = expectedWork(row, key)));
    return {
      ...work,
      shape: `${hiddenSize}×${expertHiddenSize}, ${topK} of ${experts}`,
      group: `EP ${expertParallel}, ${distribution}`,
      balanced: distribution === 'balanced',
      series: [...sharding, distribution].join(),
      setting: [...sharding, tokens].join(),
      hiddenSize,
      expertHiddenSize: expertHiddenSize / row.tensorParallel,
      slots: experts / expertParallel,
      tokens,
      topK,
      seconds: row.seconds,
    };
  });
}

/** Rows of a backend, whose counts are known; every row enters as a token of its own, as it does in a run. */
export function stageRowsOfTimed(rows: readonly Timed[]): StageRow[] {
  return rows.flatMap(({ case: timed, seconds }) => {
    if (timed.op !== 'expert-stage') return [];
    const { counts, hiddenSize, expertHiddenSize, routing } = timed;
    const work = workOf(counts, 0, counts.length);
    return {
      ...work,
      shape: `${hiddenSize}×${expertHiddenSize}`,
      group: routing,
      balanced: routing === 'balanced',
      series: [hiddenSize, expertHiddenSize, counts.length, routing].join(),
      // The busiest GPU of a skewed batch has more rows than that of a balanced one: about as many will do.
      setting: [hiddenSize, expertHiddenSize, counts.length, Math.round(Math.log2(work.rows))].join(),
      hiddenSize,
      expertHiddenSize,
      slots: counts.length,
      tokens: work.rows,
      topK: 1,
      seconds,
    };
  });
}

function expectedWork(
  { tokens, experts, topK, expertParallel, distribution }: MoeLayerRow,
  key: string,
): Work {
  const slots = experts / expertParallel;
  if (distribution === 'balanced') return workOf(balancedLoads(tokens, experts, topK), 0, slots);
  const exponent = Number(distribution.slice('power_law_'.length));
  const random = randomStream(1, key);
  const sum: Work = { rows: 0, active: 0, rounded: 0 };
  for (let draw = 0; draw < DRAWS; draw++) {
    const loads = powerLawLoads({ tokens, experts, topK, gpus: expertParallel, exponent }, random);
    const busiest = busiestGpu(loads, slots);
    const { rows, active, rounded } = workOf(loads, busiest * slots, (busiest + 1) * slots);
    sum.rows += rows / DRAWS;
    sum.active += active / DRAWS;
    sum.rounded += rounded / DRAWS;
  }
  return sum;
}

function balancedLoads(tokens: number, experts: number, topK: number): Int32Array {
  const stride = Math.ceil(experts / topK);
  const loads = new Int32Array(experts);
  for (let token = 0; token < tokens; token++) {
    const start = tokens < stride ? Math.floor((token * stride) / tokens) : token;
    for (let j = 0; j < topK; j++) loads[(start + j * stride) % experts]++;
  }
  return loads;
}

function busiestGpu(loads: Int32Array, slots: number): number {
  let busiest = 0;
  let most = -1;
  for (let first = 0; first < loads.length; first += slots) {
    let sum = 0;
    for (let e = first; e < first + slots; e++) sum += loads[e];
    if (sum > most) {
      most = sum;
      busiest = first / slots;
    }
  }
  return busiest;
}
