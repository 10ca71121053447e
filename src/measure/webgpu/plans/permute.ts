import type { Case } from '../../../calibration/index.js';
import { randomStream, shuffle } from '../../../routing/index.js';
import { foldedWorkgroups, LANES, widthOf, type ShaderDtype } from '../kernels/kernel.js';
import { permuteKernel } from '../kernels/permute.js';
import { unpermuteKernel } from '../kernels/unpermute.js';
import { randomBuffer, resultBuffer, wordBuffer, type Plan } from '../plan.js';

type Permuting = Pick<Extract<Case, { op: 'permute' | 'unpermute' }>, 'tokens' | 'topK' | 'hiddenSize'>;

/** Copies to their order by expert. */
export function permutePlan({ tokens, topK, hiddenSize }: Permuting, dtype: ShaderDtype): Plan {
  const access = widthOf(hiddenSize);
  const sources = copiesInOrder(tokens * topK).map((copy) => Math.floor(copy / topK));
  const total = (tokens * topK * hiddenSize) / access;
  const kernel = permuteKernel(dtype, access);
  return {
    kernel: kernel.name,
    buffers: {
      input: randomBuffer(tokens * hiddenSize, dtype),
      sources: wordBuffer(sources),
      output: resultBuffer(tokens * topK * hiddenSize, dtype),
    },
    call: {
      kind: 'dispatches',
      dispatches: [
        {
          kernel,
          constants: { width: hiddenSize / access, total },
          bindings: ['input', 'sources', 'output'],
          workgroups: foldedWorkgroups(Math.ceil(total / LANES)),
        },
      ],
    },
    checks: [
      {
        buffer: 'output',
        columns: hiddenSize,
        costPerRow: hiddenSize,
        reference: (row, { input, sources }) =>
          Float64Array.from({ length: hiddenSize }, (_, i) => input(sources(row) * hiddenSize + i)),
      },
    ],
  };
}

/** Copies back to their tokens, weighted and summed. */
export function unpermutePlan({ tokens, topK, hiddenSize }: Permuting, dtype: ShaderDtype): Plan {
  const access = widthOf(hiddenSize);
  const places = new Uint32Array(tokens * topK);
  copiesInOrder(tokens * topK).forEach((copy, row) => (places[copy] = row));
  const total = (tokens * hiddenSize) / access;
  const kernel = unpermuteKernel(dtype, access);
  return {
    kernel: kernel.name,
    buffers: {
      input: randomBuffer(tokens * topK * hiddenSize, dtype),
      places: wordBuffer(places),
      gates: randomBuffer(tokens * topK, 'fp32'),
      output: resultBuffer(tokens * hiddenSize, dtype),
    },
    call: {
      kind: 'dispatches',
      dispatches: [
        {
          kernel,
          constants: { width: hiddenSize / access, topK, total },
          bindings: ['input', 'places', 'gates', 'output'],
          workgroups: foldedWorkgroups(Math.ceil(total / LANES)),
        },
      ],
    },
    checks: [
      {
        buffer: 'output',
        columns: hiddenSize,
        costPerRow: topK * hiddenSize,
        reference(row, { input, places, gates }) {
          const sums = new Float64Array(hiddenSize);
          for (let copy = row * topK; copy < (row + 1) * topK; copy++) {
            const from = places(copy) * hiddenSize;
            for (let i = 0; i < hiddenSize; i++) sums[i] += gates(copy) * input(from + i);
          }
          return sums;
        },
      },
    ],
  };
}

/** The copy of every row by expert, for experts drawn at random. */
function copiesInOrder(copies: number): Uint32Array<ArrayBuffer> {
  const order = Int32Array.from({ length: copies }, (_, i) => i);
  return Uint32Array.from(shuffle(order, randomStream(1, 'order by expert')));
}
