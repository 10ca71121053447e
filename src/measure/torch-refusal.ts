import { z } from 'zod';
import { measurementsSchema, type Case } from '../calibration/index.js';

const formats = z.array(z.string());

/** What the tool says of the device that it found. */
export const greetingSchema = z.object({
  device: measurementsSchema.shape.device,
  software: measurementsSchema.shape.software,
  products: z
    .object({ fused: formats, loop: formats })
    .describe('Formats of matrix products that work, by layout.'),
});

export type Greeting = z.infer<typeof greetingSchema>;

/** Why the device cannot time a case; null if it can, as far as one can tell before. */
export function torchRefusal({ device, products }: Greeting, wanted: Case): string | null {
  switch (wanted.op) {
    case 'expert-stage':
      return wanted.weightDtype === wanted.activationDtype
        ? refuseProduct(products[wanted.layout], wanted.layout, wanted.weightDtype)
        : `PyTorch has no product of ${wanted.weightDtype} weights and ${wanted.activationDtype} activations`;
    case 'grouped-gemm':
      return refuseProduct(products[wanted.layout], wanted.layout, wanted.dtype);
    case 'permute':
      return wanted.dtype === 'fp8' ? null : refuseFormat(products.loop, wanted.dtype);
    case 'unpermute':
    case 'activation':
      return refuseFormat(products.loop, wanted.dtype);
    case 'copy':
      return device.kind === 'cpu' && wanted.direction === 'host-to-device'
        ? 'the CPU is its own host'
        : null;
    case 'gemm-beside-copy':
      return device.kind === 'cpu'
        ? 'the CPU has no streams that run side by side'
        : refuseFormat(products.loop, wanted.dtype);
    case 'top-k':
    case 'launch':
    case 'host-sync':
      return null;
  }
}

function refuseProduct(known: readonly string[], layout: string, dtype: string): string | null {
  return known.includes(dtype) ? null : `no ${layout} product of ${dtype} works here`;
}

/** Formats that are computed in as they are; 8-bit floats are only multiplied. */
function refuseFormat(known: readonly string[], dtype: string): string | null {
  return known.includes(dtype) && dtype !== 'fp8' ? null : `no arithmetic in ${dtype} here`;
}
