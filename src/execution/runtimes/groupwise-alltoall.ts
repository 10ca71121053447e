import { z } from 'zod';
import { bitsOf } from '../../hardware/index.js';
import type { RuntimeDefinition } from '../runtime.js';
import { GROUP_WISE, GroupWise, PER_COPY } from '../traffic/index.js';
import { attentionOptions, checkGroups } from './group-exchange.js';
import { NCCL_SMS, overlapNotes, overlapOptions, slowdownBeside } from './overlap.js';
import { graphOptions, hostNotes, servingHost } from './serving-host.js';
import type { ServingCosts } from './serving-costs.js';
import { servingRuntime, slicedNotes } from './serving-runtime.js';
import { partNotes, waveOptions } from './waves.js';

const options = z.strictObject({
  preset: z.literal('groupwise-alltoall'),
  expertTensorParallel: z
    .int()
    .min(1)
    .default(1)
    .describe(
      'GPUs (neighbours of one node) that share every expert of their slots, each with a slice of its hidden width; all of ' +
        'them need every copy for it.',
    ),
  groupWise: z
    .boolean()
    .default(true)
    .describe(
      "true: a GPU sends its share of the group's copies, and the receiving group gathers them; false: every GPU of a group " +
        'sends all of them, as attention leaves them with each (attentionTensorParallel must be the same).',
    ),
  ...attentionOptions,
  ...graphOptions,
  ...overlapOptions,
  ...waveOptions,
});

/** Router, top-k, permutation, exchange; sort, experts (two products, activation), exchange, sum. */
const FRONT_KERNELS = 4;
const BACK_KERNELS = 6;

/** An int32 id and a float weight per copy. */
const CHOICE_BYTES = 4 + 4;

/**
 * All-to-all of copies among groups of tensor-parallel GPUs, group-wise as LocMoE has it (arXiv 2401.13920, §4): each
 * GPU of a group moves its share of the payload over the slow links, then the group gathers it over the fast ones. The
 * two hops are one exchange here, through whose ports both flow. In two halves (`overlap: "two-batch"`) the exchange of
 * one runs beside the experts of the other, as the paper's chunks do.
 */
export const groupwiseAlltoall: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'groupwise-alltoall',
  summary:
    'copies among tensor-parallel groups: each GPU its share over slow links, then an all-gather (LocMoE)',
  stack: 'serving',
  options,
  create(
    {
      expertTensorParallel,
      attentionTensorParallel,
      groupWise,
      host,
      capturedTokens,
      overlap,
      slowdown,
      ...chosen
    },
    machine,
  ) {
    const { cluster, shape } = machine;
    checkGroups('expertTensorParallel', expertTensorParallel, cluster);
    checkGroups('attentionTensorParallel', attentionTensorParallel, cluster);
    if (!groupWise && attentionTensorParallel !== expertTensorParallel) {
      throw new RangeError(
        `groupWise: found false with attentionTensorParallel ${attentionTensorParallel}, allowed: true, or ` +
          `attentionTensorParallel: ${expertTensorParallel}, which leaves all GPUs of a group the same tokens`,
      );
    }
    const { hiddenSize, activationDtype } = shape;
    const sliceWidth = Math.ceil(shape.expertHiddenSize / expertTensorParallel);
    const bits = bitsOf(activationDtype);
    const copy = Math.ceil((hiddenSize * bits) / 8) + CHOICE_BYTES;
    const result = 2 * hiddenSize;
    const slower = slowdown ?? slowdownBeside(machine, NCCL_SMS);
    const costs: ServingCosts = {
      traffic: () => new GroupWise(cluster.gpus, expertTensorParallel, groupWise),
      dispatch: { bytes: copy, cost: null },
      combine: { bytes: result, cost: null },
      layout: 'fused',
      expertTensorParallel,
      attentionTensorParallel,
      entering: 'rows',
      plansOnArrival: false,
      sendsPadding: false,
      mostRowsPerSlot: 0,
      buffers: {
        received: ({ received }) => received * copy,
        intermediates: ({ received }) => received * (2 * 2 * sliceWidth + (sliceWidth * bits) / 8),
        results: ({ received }) => received * result,
      },
      host: servingHost(chosen, {
        mode: host,
        capturedTokens,
        frontKernels: FRONT_KERNELS,
        backKernels: BACK_KERNELS,
        blockingRead: false,
      }),
      quantises: bits <= 8,
      overlap,
      slowdown: slower,
    };
    const name = 'groupwise-alltoall';
    return {
      name,
      ...servingRuntime(costs, machine),
      buffers: 'dynamic',
      dispatchBytes: copy,
      combineBytes: result,
      floor: expertTensorParallel === 1 ? PER_COPY : GROUP_WISE,
      maxTokensPerWave: chosen.maxTokensPerWave,
      notes: (traits, routing) => [
        ...slicedNotes(name, expertTensorParallel),
        ...hostNotes(name, costs.host, cluster.profile, traits),
        ...partNotes(name, chosen.maxTokensPerWave, overlap, routing),
        ...overlapNotes(name, overlap, slower),
      ],
    };
  },
};
