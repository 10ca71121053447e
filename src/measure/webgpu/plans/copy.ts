import type { Case } from '../../../calibration/index.js';
import { randomBuffer, resultBuffer, type Plan } from '../plan.js';

/** Elements of a row of the check. */
const COLUMNS = 1024;

/**
 * A copy within the device, or from memory of the host that the device can read: what crosses the link,
 * without the host's own copy into such memory.
 */
export function copyPlan({ direction, bytes }: Extract<Case, { op: 'copy' }>): Plan {
  const elements = bytes / 4;
  const source = randomBuffer(elements, 'fp32');
  return {
    kernel:
      direction === 'device-to-device' ? 'copyBufferToBuffer' : 'copyBufferToBuffer from a staging buffer',
    buffers: {
      source: direction === 'device-to-device' ? source : { ...source, onHost: true },
      target: resultBuffer(elements, 'fp32'),
    },
    call: { kind: 'copy', from: 'source', to: 'target' },
    checks: [
      {
        buffer: 'target',
        columns: COLUMNS,
        costPerRow: COLUMNS,
        reference: (row, { source }) =>
          Float64Array.from({ length: Math.min(COLUMNS, elements - row * COLUMNS) }, (_, i) =>
            source(row * COLUMNS + i),
          ),
      },
    ],
  };
}
