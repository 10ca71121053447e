import type { Case } from '../../../calibration/index.js';
import { activationKernel } from '../kernels/activation.js';
import { foldedWorkgroups, LANES, widthOf, type ShaderDtype } from '../kernels/kernel.js';
import {
  randomBuffer,
  resultBuffer,
  wordBuffer,
  type BufferSpec,
  type Dispatch,
  type Plan,
} from '../plan.js';

/** Random gates and ups lie in [−this, this), where SiLU bends. */
const SPREAD = 4;

/** SiLU of the gate times the up projection. */
export function activationPlan(
  { rows, expertHiddenSize }: Extract<Case, { op: 'activation' }>,
  dtype: ShaderDtype,
): Plan {
  const dispatch = activationDispatch(dtype, expertHiddenSize, rows, ['input', 'range', 'output']);
  return {
    kernel: dispatch.kernel.name,
    buffers: {
      input: randomBuffer(rows * 2 * expertHiddenSize, dtype, SPREAD),
      range: rangeBuffer(expertHiddenSize, 0, rows),
      output: resultBuffer(rows * expertHiddenSize, dtype),
    },
    call: { kind: 'dispatches', dispatches: [dispatch] },
    checks: [
      {
        buffer: 'output',
        columns: expertHiddenSize,
        costPerRow: 2 * expertHiddenSize,
        reference: (row, { input }) =>
          activatedRow(expertHiddenSize, (i) => input(row * 2 * expertHiddenSize + i)),
      },
    ],
  };
}

/** @param bindings input, range (`rangeBuffer`), output */
export function activationDispatch(
  dtype: ShaderDtype,
  width: number,
  rows: number,
  bindings: [input: string, range: string, output: string],
): Dispatch {
  const access = widthOf(width);
  return {
    kernel: activationKernel(dtype, access),
    constants: { width: width / access },
    bindings,
    workgroups: foldedWorkgroups(Math.ceil(((width / access) * rows) / LANES)),
  };
}

/** The rows that one dispatch activates, as the kernel reads them. */
export function rangeBuffer(width: number, firstRow: number, rows: number): BufferSpec {
  const accesses = width / widthOf(width);
  return wordBuffer(Uint32Array.of(firstRow * accesses, rows * accesses));
}

/** Float64 reference. @param gateUp `width` gates, then as many ups */
export function activatedRow(width: number, gateUp: (index: number) => number): Float64Array {
  return Float64Array.from({ length: width }, (_, i) => {
    const gate = gateUp(i);
    return (gate / (1 + Math.exp(-gate))) * gateUp(width + i);
  });
}
