import type { Case } from '../../../calibration/index.js';
import { expertWeights } from '../../../hardware/index.js';
import { sum } from 'd3-array';
import { groupedGemmKernel } from '../kernels/grouped-gemm.js';
import type { ShaderDtype } from '../kernels/kernel.js';
import { randomBuffer, resultBuffer, type Plan } from '../plan.js';
import { activatedRow, activationDispatch, rangeBuffer } from './activation.js';
import { addRowTimesMatrix, productDispatches, tileBuffers, weightScale } from './product.js';
import { expertOfRows, segmentsOf, tileRowsFor } from './segments.js';

/** Gates and ups lie around this, where SiLU bends. */
const SPREAD = 4;

/** Gate and up in one product, activation, down: once over all experts, or expert after expert. */
export function expertStagePlan(
  { hiddenSize, expertHiddenSize, counts, layout }: Extract<Case, { op: 'expert-stage' }>,
  dtype: ShaderDtype,
): Plan {
  const tileRows = tileRowsFor(counts);
  const segments = segmentsOf(counts, layout, tileRows);
  const rows = sum(counts);
  const gateUpColumns = 2 * expertHiddenSize;
  const gateUp = productDispatches(segments, {
    input: 'input',
    weights: 'gate and up weights',
    output: 'gate and up',
    inner: hiddenSize,
    columns: gateUpColumns,
    dtype,
    tileRows,
  });
  const down = productDispatches(segments, {
    input: 'activated',
    weights: 'down weights',
    output: 'output',
    inner: expertHiddenSize,
    columns: hiddenSize,
    dtype,
    tileRows,
  });
  const activations = segments.map((segment, i) =>
    activationDispatch(dtype, expertHiddenSize, segment.rows, ['gate and up', `range ${i}`, 'activated']),
  );
  const experts = expertOfRows(counts);
  return {
    kernel: groupedGemmKernel(dtype, tileRows, gateUpColumns).name,
    buffers: {
      input: randomBuffer(rows * hiddenSize, dtype),
      'gate and up weights': randomBuffer(
        counts.length * hiddenSize * gateUpColumns,
        dtype,
        SPREAD * weightScale(hiddenSize),
      ),
      'gate and up': resultBuffer(rows * gateUpColumns, dtype),
      activated: resultBuffer(rows * expertHiddenSize, dtype),
      'down weights': randomBuffer(
        counts.length * expertHiddenSize * hiddenSize,
        dtype,
        weightScale(expertHiddenSize),
      ),
      output: resultBuffer(rows * hiddenSize, dtype),
      ...tileBuffers(segments),
      ...Object.fromEntries(
        segments.map((segment, i) => [
          `range ${i}`,
          rangeBuffer(expertHiddenSize, segment.firstRow, segment.rows),
        ]),
      ),
    },
    call: {
      kind: 'dispatches',
      dispatches: segments.flatMap((_, i) => [gateUp[i], activations[i], down[i]]),
    },
    checks: [
      {
        buffer: 'output',
        columns: hiddenSize,
        costPerRow: expertWeights({ hiddenSize, expertHiddenSize }),
        reference(row, inputs) {
          const expert = experts[row];
          const between = new Float64Array(gateUpColumns);
          const firstMatrix = expert * hiddenSize * gateUpColumns;
          addRowTimesMatrix(
            between,
            (i) => inputs.input(row * hiddenSize + i),
            hiddenSize,
            (i) => inputs['gate and up weights'](firstMatrix + i),
          );
          const activated = activatedRow(expertHiddenSize, (i) => between[i]);
          const output = new Float64Array(hiddenSize);
          const secondMatrix = expert * expertHiddenSize * hiddenSize;
          addRowTimesMatrix(
            output,
            (i) => activated[i],
            expertHiddenSize,
            (i) => inputs['down weights'](secondMatrix + i),
          );
          return output;
        },
      },
    ],
  };
}
