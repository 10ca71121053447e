import type { Interval } from '../metrics/index.js';

/** Latency limits in seconds; a limit that the scenario's phase does not have is null. */
export interface SloLimits {
  /** Time per output token: steps of a decode. */
  tpot: number | null;
  /** Time to first token: steps of a prefill. */
  ttft: number | null;
}

/** What keeps a policy from a larger batch. */
export type SloBound = 'latency' | 'memory' | 'refused' | 'search';

/** What one policy can do within the limits. */
export interface SloChoice {
  policy: string;
  exact: boolean;
  anchor: boolean;
  /** Share of the copies that it drops or computes at lowered precision at that batch. */
  loss: number;
  /** The largest batch found; null where even one token per GPU is too much. */
  best: {
    tokensPerGpu: number;
    /** 95th percentile of the steps. */
    stepP95: number;
    tokensPerSecondPerGpu: Interval;
    costPerMillionTokens: number | null;
    /** Tokens that the KV cache could hold beyond those of the batch. */
    spareKvTokens: number;
  } | null;
  bound: SloBound;
  /** Why one token more is too much. */
  because: string;
}

/** What a search for the largest batch has found. */
export interface SloResult {
  phase: 'prefill' | 'decode';
  limit: number;
  /** The limit that does not apply to this phase. */
  unused: 'tpot' | 'ttft' | null;
  /** By policy, the most tokens per second first; those that can't meet the limits last. */
  choices: SloChoice[];
  /** Share of copies that a recommended policy may lose. */
  allowedLoss: number;
  /** Batches that were simulated. */
  tried: number[];
}

/** The largest batch is found to this share of it. */
const PRECISION = 0.02;

/**
 * The largest whole number that is feasible, where larger ones are not once one is not: doubles from `from`, then
 * halves the gap, until it is within 2 % or 1.
 * @returns 0 where not even 1 is feasible, and `most` where that is
 */
export async function largestFeasible(
  isFeasible: (value: number) => Promise<boolean>,
  from: number,
  most: number,
): Promise<number> {
  let good = 0;
  let bad = most + 1;
  for (let value = Math.min(from, most); ;) {
    if (await isFeasible(value)) good = value;
    else bad = value;
    if (bad - good <= Math.max(1, PRECISION * good)) return good;
    if (bad > most) value = Math.min(2 * good, most);
    else value = good === 0 ? Math.floor(bad / 2) : Math.floor((good + bad) / 2);
    if (value === 0 || value === good) return good;
  }
}

/**
 * Reads limits such as `tpot=30ms,ttft=0.5s`.
 * @throws RangeError that says what is allowed
 */
export function parseLimits(text: string): SloLimits {
  const limits: SloLimits = { tpot: null, ttft: null };
  for (const part of text.split(',')) {
    const [, name, number, unit] = /^\s*(tpot|ttft)\s*=\s*(\d*\.?\d+)\s*(us|µs|ms|s)\s*$/.exec(part) ?? [];
    if (name === undefined || Number(number) === 0) {
      throw new RangeError(`found '${part}', allowed: limits such as tpot=30ms,ttft=0.5s`);
    }
    const factor = unit === 's' ? 1 : unit === 'ms' ? 1e-3 : 1e-6;
    limits[name as keyof SloLimits] = Number(number) * factor;
  }
  return limits;
}
