import { z } from 'zod';
import type { Range } from '../../hardware/index.js';
import { combineBytes } from '../machine.js';
import type { RuntimeDefinition } from '../runtime.js';
import { LlepLayer, llepDispatchBytes } from './llep-layer.js';

const seconds = z.number().nonnegative();

const options = z.strictObject({
  preset: z.literal('llep-engineered'),
  residentExperts: z
    .enum(['home', 'all'])
    .default('home')
    .describe('home: every GPU holds its own experts; all: every expert of the layer.'),
  hostSeconds: seconds
    .default(0.3e-3)
    .describe('Host time per layer: some 50 launches at 6 µs each; a first guess.'),
  planKernelSeconds: seconds
    .default(75e-6)
    .describe("A planner on the GPU, gate included: 67 to 78 µs (UltraEP's figures)."),
  postSecondsPerTransfer: seconds
    .default(10e-6)
    .describe('Host time to post one weight transfer (one fused tensor); a first guess.'),
});

/** Nothing like it was timed: half to twice. */
const HOST_RANGE: Range = [0.5, 2];

/**
 * The same method as an engine would build it: the plan is made by a kernel, the host reads its outcome once,
 * every policy runs the same grouped product, a pair (expert, GPU) travels once. No such implementation has
 * been published: what differs from `llep-reference` is assumed.
 */
export const llepEngineered: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'llep-engineered',
  summary: 'the same steps as an engine would build them: planner on the GPU, one grouped product',
  stack: 'serving',
  options,
  create({ residentExperts, hostSeconds, planKernelSeconds, postSecondsPerTransfer }, machine) {
    const costs = {
      residentExperts,
      hostSeconds,
      planner: 'gpu',
      gateSeconds: planKernelSeconds,
      planSeconds: 0,
      planSecondsPerExpert: 0,
      postSecondsPerTransfer,
      layout: 'fused',
      stack: llepEngineered.stack,
      perExpert: { borrowing: false, others: false },
      distinctTransfers: true,
    } as const;
    return {
      name: 'llep-engineered',
      residentExperts,
      buffers: 'dynamic',
      dispatchBytes: llepDispatchBytes(machine),
      combineBytes: combineBytes(machine),
      hostAccuracy: { range: HOST_RANGE, basis: 'assumed' },
      notes: ({ plansEachBatch }) =>
        plansEachBatch
          ? ['llep-engineered: no such implementation has been published; its host is assumed']
          : [],
      program: (context) => new LlepLayer(costs, machine, context).program(),
    };
  },
};
