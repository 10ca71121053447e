import { z } from 'zod';
import { faultSchema } from './faults.js';
import { gpuPresets, gpuSchema, type Gpu } from './gpu.js';
import { shippedProfiles, type Profile } from './profile.js';

const rate = z.number().positive();
const gpuNames = Object.keys(gpuPresets) as [string, ...string[]];

/** GPUs in nodes, as a scenario writes it. */
export const clusterSchema = z.strictObject({
  gpu: z.union([z.enum(gpuNames), gpuSchema]).describe("A GPU preset's name, or its datasheet."),
  gpus: z.int().min(1).max(1024).describe('GPUs in the expert-parallel group.'),
  gpusPerNode: z
    .int()
    .min(1)
    .max(1024)
    .optional()
    .describe('GPUs that share NVLink; default: 8, or all if fewer.'),
  fabric: z
    .enum(['ports', 'max-min'])
    .default('ports')
    .describe("ports: a collective takes its busiest port's time; max-min: every flow is simulated."),
  profile: z
    .string()
    .min(1)
    .optional()
    .describe("A shipped profile's name or a path; default: the GPU's shipped profile."),
  speed: z
    .array(z.number().positive().max(10))
    .optional()
    .describe(
      'How fast each GPU runs its kernels, 1 as the profile says; a list of as many as there are GPUs.',
    ),
  jitter: z
    .number()
    .min(0)
    .max(2)
    .optional()
    .describe(
      'Kernels of every (step, layer, GPU) take a drawn factor as long: its standard deviation, mean 1.',
    ),
  pricePerGpuHour: rate.optional().describe('Price of one GPU for an hour, in any currency; scope model.'),
  faults: z
    .array(faultSchema)
    .max(16)
    .optional()
    .describe('What breaks during the run; figures before, during and after are reported apart.'),
  forceSoftwareProfile: z.boolean().default(false).describe('Accept a profile that was timed without a GPU.'),
});

export type ClusterInput = z.input<typeof clusterSchema>;

/** A cluster with everything that time depends on. */
export interface Cluster {
  gpu: Gpu;
  gpus: number;
  gpusPerNode: number;
  fabric: 'ports' | 'max-min';
  profile: Profile;
  /** By GPU; as the profile says where nobody says otherwise. */
  speed?: readonly number[];
  jitter?: number;
  pricePerGpuHour?: number;
  /** Share of its bandwidth that every port has left, [port · gpus + GPU] as in `PortLoads`; absent: all of it. */
  portShares?: Float64Array;
}

function nodesOf(gpu: string, gpus: number, gpusPerNode: number): [string, ClusterInput] {
  return [`${gpus}x${gpu}`, { gpu, gpus, gpusPerNode }];
}

/** Clusters by name: one to eight nodes of eight, and one NVLink domain of GB200. */
export const clusterPresets: Readonly<Record<string, ClusterInput>> = Object.fromEntries([
  ...['a100', 'h100', 'h800', 'h200', 'h20', 'b200'].flatMap((gpu) =>
    [1, 2, 4, 8].map((nodes) => nodesOf(gpu, 8 * nodes, 8)),
  ),
  ...[8, 16, 32, 64].map((gpus) => nodesOf('gb200', gpus, gpus)),
]);

/** The shipped profile of a GPU; for a GPU of one's own, the H100's with its share of the datasheet. */
export function defaultProfile(gpu: Gpu): Profile {
  return shippedProfiles.find((profile) => profile.gpu === gpu.name) ?? scaledProfile(gpu);
}

function scaledProfile(gpu: Gpu): Profile {
  const base = shippedProfiles.find((profile) => profile.gpu === 'h100')!;
  const from = gpuPresets.h100;
  const memory = gpu.memoryBandwidth / from.memoryBandwidth;
  const stages = base.expertStages
    .filter((stage) => stage.computeDtype !== 'fp8' || gpu.fp8Flops !== null)
    .map((stage) => ({
      // What was measured on another GPU says nothing of how good a scaled number is.
      ...stage,
      accuracy: undefined,
      lookups: [],
      lookupAccuracy: undefined,
      flopPerSecond:
        stage.flopPerSecond *
        (stage.computeDtype !== 'fp8' ? gpu.bf16Flops / from.bf16Flops : gpu.fp8Flops! / from.fp8Flops!),
      weightBytesPerSecond: stage.weightBytesPerSecond * memory,
      activationBytesPerSecond: stage.activationBytesPerSecond * memory,
    }));
  return {
    ...base,
    name: `${gpu.name}-scaled-from-${base.name}`,
    gpu: gpu.name,
    status: 'first-guess',
    sources: [`${base.name}, scaled by the datasheets of ${gpu.name} and h100`, ...base.sources],
    expertStages: stages,
    tokenExchanges: [],
    copyAccuracy: undefined,
    copyBytesPerSecond: base.copyBytesPerSecond * memory,
    gatherBytesPerSecond: base.gatherBytesPerSecond * memory,
    nvlink: scaledLink(base.nvlink, gpu.nvlinkBandwidth / from.nvlinkBandwidth),
    nic: scaledLink(base.nic, gpu.nicBandwidth / from.nicBandwidth),
  };
}

function scaledLink(link: Profile['nic'], factor: number): Profile['nic'] {
  return { ...link, bytesPerSecond: link.bytesPerSecond * factor, accuracy: undefined };
}
