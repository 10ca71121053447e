import { bitsOf, expertWeights } from '../hardware/index.js';
import { longRunCases, type MeasurementPlan } from './measurement-plan.js';
import type { Case } from './measurements.js';

/** What a GPU of 2020 reaches, so that newer ones are faster than the estimate. */
const FLOP_PER_SECOND = 150e12;
const BYTES_PER_SECOND = 1e12;
/** Host time of one expert in a loop. */
const SECONDS_PER_LOOPED_EXPERT = 4e-5;

/** Interpreter, library and device, the first call of every kernel. */
const START_SECONDS = 25;
/** Of any case: messages, inputs, waiting. */
const CASE_SECONDS = 0.1;
/** Weights of two experts fetched and multiplied on the host, to check the output against. */
const CHECK_SECONDS_PER_WEIGHT = 4e-9;

/** Seconds that a plan takes on a data-centre GPU that can time all its cases, rather too many than too few. */
export function estimateSeconds(plan: MeasurementPlan): number {
  const calls = plan.repeats + plan.warmup;
  const cases = plan.cases.reduce((sum, wanted) => {
    const { flop, bytes, launches, checked } = work(wanted);
    const call = flop / FLOP_PER_SECOND + bytes / BYTES_PER_SECOND + launches * SECONDS_PER_LOOPED_EXPERT;
    return sum + CASE_SECONDS + checked * CHECK_SECONDS_PER_WEIGHT + calls * call;
  }, 0);
  return START_SECONDS + cases + longRunCases(plan.cases).size * plan.longRunSeconds;
}

interface Work {
  flop: number;
  bytes: number;
  launches: number;
  /** Weights that the check looks at. */
  checked: number;
}

function work(wanted: Case): Work {
  switch (wanted.op) {
    case 'expert-stage': {
      const { hiddenSize, expertHiddenSize, weightDtype, counts, layout } = wanted;
      const weights = expertWeights(wanted);
      const perRow = 2 * hiddenSize + 8 * expertHiddenSize;
      return products(counts, weights, perRow, bitsOf(weightDtype) / 8, layout);
    }
    case 'grouped-gemm': {
      const { inner, columns, dtype, counts, layout } = wanted;
      return products(counts, inner * columns, inner + columns, bitsOf(dtype) / 8, layout);
    }
    case 'permute':
    case 'unpermute':
      return moved(3 * wanted.tokens * wanted.topK * wanted.hiddenSize * 2);
    case 'top-k':
      return moved(wanted.tokens * wanted.experts * 4);
    case 'activation':
      return moved(5 * wanted.rows * wanted.expertHiddenSize * 2);
    case 'copy':
      // A host link has a twentieth of the memory's rate, and pinning the host's memory takes longer still.
      return moved(wanted.bytes * (wanted.direction === 'host-to-device' ? 50 : 2));
    case 'launch':
    case 'host-sync':
      return moved(0);
    case 'gemm-beside-copy': {
      const { rows, inner, columns, bytes } = wanted;
      return { flop: 6 * rows * inner * columns, bytes: 6 * bytes, launches: 0, checked: 0 };
    }
  }
}

function products(
  counts: readonly number[],
  weights: number,
  elementsPerRow: number,
  bytesPerElement: number,
  layout: 'fused' | 'loop',
): Work {
  const rows = counts.reduce((sum, n) => sum + n, 0);
  const active = counts.filter((n) => n > 0).length;
  return {
    flop: 2 * weights * rows,
    bytes: (active * weights + rows * elementsPerRow) * bytesPerElement,
    launches: layout === 'loop' ? active : 0,
    checked: 2 * weights,
  };
}

function moved(bytes: number): Work {
  return { flop: 0, bytes, launches: 0, checked: 0 };
}
