import { z } from 'zod';

const rate = z.number().positive();

/** A GPU's datasheet: what limits it and what a profile's measured rates are compared with. */
export const gpuSchema = z.strictObject({
  name: z.string().min(1).describe('Name that profiles are found by.'),
  memoryBytes: rate.describe('Bytes of device memory.'),
  memoryBandwidth: rate.describe('Bytes per second of device memory.'),
  bf16Flops: rate.describe('Dense bf16 FLOP per second.'),
  fp8Flops: rate.nullable().default(null).describe('Dense fp8 FLOP per second; null where there is none.'),
  nvlinkBandwidth: rate.describe('Bytes per second a GPU sends (and receives) inside its node.'),
  nicBandwidth: rate.describe('Bytes per second a GPU sends (and receives) between nodes.'),
  sms: z.int().positive().describe('Streaming multiprocessors.'),
});

export type Gpu = z.infer<typeof gpuSchema>;

const GB = 1e9;
const TB = 1e12;
const TFLOPS = 1e12;

function gpu(
  name: string,
  [memory, bandwidth, bf16, fp8]: [number, number, number, number | null],
  [nvlink, nic, sms]: [number, number, number],
): Gpu {
  return {
    name,
    memoryBytes: memory * GB,
    memoryBandwidth: bandwidth * TB,
    bf16Flops: bf16 * TFLOPS,
    fp8Flops: fp8 === null ? null : fp8 * TFLOPS,
    nvlinkBandwidth: nvlink * GB,
    nicBandwidth: nic * GB,
    sms,
  };
}

/**
 * Vendors' datasheets: dense rates without sparsity, links each way per GPU. Memory in GB, bandwidth in
 * TB/s, rates in TFLOP/s, links in GB/s.
 */
export const gpuPresets: Readonly<Record<string, Gpu>> = Object.fromEntries(
  [
    gpu('a100', [80, 2.04, 312, null], [300, 25, 108]),
    gpu('h100', [80, 3.35, 989, 1979], [450, 50, 132]),
    gpu('h800', [80, 3.35, 989, 1979], [200, 50, 132]),
    gpu('h200', [141, 4.8, 989, 1979], [450, 50, 132]),
    gpu('h20', [96, 4.0, 148, 296], [450, 50, 78]),
    gpu('b200', [180, 7.7, 2250, 4500], [900, 100, 148]),
    gpu('gb200', [186, 8.0, 2500, 5000], [900, 50, 148]),
  ].map((spec) => [spec.name, spec]),
);
