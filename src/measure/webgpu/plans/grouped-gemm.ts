import type { Case } from '../../../calibration/index.js';
import { sum } from 'd3-array';
import { groupedGemmKernel } from '../kernels/grouped-gemm.js';
import type { ShaderDtype } from '../kernels/kernel.js';
import { randomBuffer, resultBuffer, type Plan } from '../plan.js';
import { addRowTimesMatrix, productDispatches, tileBuffers, weightScale } from './product.js';
import { expertOfRows, segmentsOf, tileRowsFor } from './segments.js';

/** One product per expert over given counts. */
export function groupedGemmPlan(
  { inner, columns, counts, layout }: Extract<Case, { op: 'grouped-gemm' }>,
  dtype: ShaderDtype,
): Plan {
  const tileRows = tileRowsFor(counts);
  const segments = segmentsOf(counts, layout, tileRows);
  const rows = sum(counts);
  const experts = expertOfRows(counts);
  return {
    kernel: groupedGemmKernel(dtype, tileRows, columns).name,
    buffers: {
      input: randomBuffer(rows * inner, dtype),
      weights: randomBuffer(counts.length * inner * columns, dtype, weightScale(inner)),
      output: resultBuffer(rows * columns, dtype),
      ...tileBuffers(segments),
    },
    call: {
      kind: 'dispatches',
      dispatches: productDispatches(segments, {
        input: 'input',
        weights: 'weights',
        output: 'output',
        inner,
        columns,
        dtype,
        tileRows,
      }),
    },
    checks: [
      {
        buffer: 'output',
        columns,
        costPerRow: inner * columns,
        reference(row, { input, weights }) {
          const sums = new Float64Array(columns);
          const matrix = experts[row] * inner * columns;
          addRowTimesMatrix(
            sums,
            (i) => input(row * inner + i),
            inner,
            (i) => weights(matrix + i),
          );
          return sums;
        },
      },
    ],
  };
}
