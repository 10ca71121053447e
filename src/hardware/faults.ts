import { z } from 'zod';

const atStep = z
  .int()
  .min(1)
  .describe('Step that it happens before, counted from 0 with those that warm up.');

const loss = {
  atStep,
  requests: z
    .enum(['moved', 'dropped'])
    .default('moved')
    .describe('What becomes of the tokens of lost GPUs: the others take them in turn, or they are gone.'),
  weightsFrom: z
    .enum(['host', 'disk'])
    .default('host')
    .describe('Where weights come from that no GPU holds any more: host memory by the host link, or a disk.'),
  diskBytesPerSecond: z
    .number()
    .positive()
    .default(3e9)
    .describe('What every GPU reads from disk, all at the same time. A first guess: set your own.'),
  pauseSeconds: z
    .number()
    .min(0)
    .default(0)
    .describe('Seconds to notice the loss and to connect the others anew, which nothing here simulates.'),
};

/** Something that breaks during a run, as a scenario writes it. */
export const faultSchema = z.discriminatedUnion('kind', [
  z
    .strictObject({
      kind: z.literal('link'),
      gpu: z.int().min(0).optional().describe('The GPU whose ports it is about.'),
      node: z.int().min(0).optional().describe('The node, in place of one GPU: the ports of all its GPUs.'),
      port: z.enum(['all', 'nvlink', 'nic']).default('all').describe('Which ports, both ways.'),
      factor: z.number().gt(0).max(1).describe('Share of the bandwidth that is left; 1 restores it.'),
      atStep,
    })
    .describe('a link runs at a share of its bandwidth from a step on'),
  z
    .strictObject({ kind: z.literal('gpu-lost'), gpu: z.int().min(0), ...loss })
    .describe('a GPU is lost, and the others hold its experts; in a cluster of one node'),
  z
    .strictObject({ kind: z.literal('node-lost'), node: z.int().min(0), ...loss })
    .describe('a whole node is lost; in a cluster of several'),
]);

export type Fault = z.output<typeof faultSchema>;
/** One that takes GPUs away. */
export type Loss = Exclude<Fault, { kind: 'link' }>;
