import { z } from 'zod';
import { bitsOf } from '../../hardware/index.js';
import type { RuntimeDefinition } from '../runtime.js';
import { EVERY_TOKEN, EveryToken } from '../traffic/index.js';
import { attentionOptions, checkGroups } from './group-exchange.js';
import { NCCL_SMS, overlapNotes, overlapOptions, slowdownBeside } from './overlap.js';
import { graphOptions, hostNotes, servingHost } from './serving-host.js';
import type { ServingCosts } from './serving-costs.js';
import { servingRuntime, slicedNotes } from './serving-runtime.js';
import { partNotes, waveOptions } from './waves.js';

const options = z.strictObject({
  preset: z.literal('allgather-reducescatter'),
  dispatchDtype: z
    .enum(['bf16', 'activation'])
    .default('bf16')
    .describe(
      "What is gathered: hidden states in bf16, which every GPU quantises itself (vLLM), or in the model's activation " +
        'format (TensorRT-LLM, post-quantisation).',
    ),
  chunkTokens: z
    .int()
    .min(1)
    .default(16_384)
    .describe(
      "Gathered tokens that the experts' workspace holds at once (vLLM's VLLM_FUSED_MOE_CHUNK_SIZE, 16,384 in recent " +
        'versions).',
    ),
  expertTensorParallel: z
    .int()
    .min(1)
    .default(1)
    .describe(
      'GPUs (neighbours of one node) that share every expert of their slots, each with a slice of its hidden width ' +
        "(TensorRT-LLM's moe_tensor_parallel_size). All tokens are on every GPU anyway: nothing more is sent.",
    ),
  ...attentionOptions,
  ...graphOptions,
  ...overlapOptions,
  ...waveOptions,
});

/** Router, top-k, gathers of hidden states, ids and weights; sort and align, experts (two products, activation), sum, scatter. */
const FRONT_KERNELS = 5;
const BACK_KERNELS = 7;

/** An int32 id and a float weight per choice. */
const CHOICE_BYTES = 4 + 4;

/**
 * All tokens go to all GPUs, each computes the choices that fall on its experts, and a reduce-scatter sums the
 * results: vLLM's default exchange, and what TensorRT-LLM's timings imply. Its traffic hangs on the number of tokens
 * alone, and so do its buffers: the workspace of a fused MoE kernel has room for every choice of every gathered token
 * (vLLM, fused_moe.py).
 */
export const allgatherReducescatter: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'allgather-reducescatter',
  summary: "all tokens to all GPUs and a reduce-scatter back: vLLM's default; traffic ignores the routing",
  stack: 'serving',
  options,
  create(given, machine) {
    const {
      dispatchDtype,
      chunkTokens,
      expertTensorParallel,
      attentionTensorParallel,
      host,
      capturedTokens,
      overlap,
      slowdown,
      ...chosen
    } = given;
    const { cluster, shape } = machine;
    checkGroups('expertTensorParallel', expertTensorParallel, cluster);
    checkGroups('attentionTensorParallel', attentionTensorParallel, cluster);
    const { hiddenSize, topK } = shape;
    const sliceWidth = Math.ceil(shape.expertHiddenSize / expertTensorParallel);
    const bits = dispatchDtype === 'bf16' ? 16 : bitsOf(shape.activationDtype);
    const token = Math.ceil((hiddenSize * bits) / 8) + topK * CHOICE_BYTES;
    const result = 2 * hiddenSize;
    const slower = slowdown ?? slowdownBeside(machine, NCCL_SMS);
    // The first product's output shares memory with the second's, which is written when it is no longer needed.
    const workspace = 2 * (Math.max(2 * sliceWidth, hiddenSize) + sliceWidth);
    const costs: ServingCosts = {
      traffic: () => new EveryToken(cluster.gpus, cluster.gpusPerNode),
      dispatch: { bytes: token, cost: null },
      combine: { bytes: result, cost: null },
      layout: 'fused',
      expertTensorParallel,
      attentionTensorParallel,
      entering: 'tokens',
      plansOnArrival: true,
      sendsPadding: true,
      mostRowsPerSlot: 0,
      buffers: {
        received: ({ received }) => received * token,
        intermediates: ({ received }) => Math.min(received, chunkTokens) * topK * workspace,
        results: ({ received }) => received * result,
      },
      host: servingHost(chosen, {
        mode: host,
        capturedTokens,
        frontKernels: FRONT_KERNELS,
        backKernels: BACK_KERNELS,
        blockingRead: false,
      }),
      quantises: dispatchDtype === 'activation' && bits <= 8,
      overlap,
      slowdown: slower,
    };
    const name = 'allgather-reducescatter';
    return {
      name,
      ...servingRuntime(costs, machine),
      buffers: 'static',
      dispatchBytes: token,
      combineBytes: result,
      floor: EVERY_TOKEN,
      maxTokensPerWave: chosen.maxTokensPerWave,
      notes: (traits, routing) => [
        `${name}: what crosses the network hangs on the number of tokens alone, not on the routing`,
        ...slicedNotes(name, expertTensorParallel),
        ...hostNotes(name, costs.host, cluster.profile, traits),
        ...partNotes(name, chosen.maxTokensPerWave, overlap, routing),
        ...overlapNotes(name, overlap, slower),
      ],
    };
  },
};
