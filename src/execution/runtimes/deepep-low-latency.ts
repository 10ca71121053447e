import { z } from 'zod';
import { bitsOf } from '../../hardware/index.js';
import { bufferedRows } from '../row-layout.js';
import type { RuntimeDefinition } from '../runtime.js';
import { PER_COPY, PerCopy } from '../traffic/index.js';
import { deepepExchange, dispatchedHidden } from './deepep.js';
import { lowLatencyBufferBytes } from './deepep-buffers.js';
import { graphOptions, hostNotes, servingHost } from './serving-host.js';
import { attentionOptions, checkGroups } from './group-exchange.js';
import { overlapOptions } from './overlap.js';
import type { ServingCosts, ServingLoad } from './serving-costs.js';
import { servingRuntime } from './serving-runtime.js';
import { partNotes } from './waves.js';

/** Token, source and slot in front of every dispatched copy (an int4). */
const HEADER_BYTES = 16;

const options = z.strictObject({
  preset: z.literal('deepep-low-latency'),
  maxTokensPerGpu: z
    .int()
    .min(1)
    .default(128)
    .describe(
      'Tokens per GPU that the static buffers hold (num_max_dispatch_tokens_per_rank; SGLang: 128, vLLM: 256). ' +
        'Larger batches run in waves of at most so many.',
    ),
  ...attentionOptions,
  ...graphOptions,
  overlap: overlapOptions.overlap,
});

/** Router, top-k, dispatch; experts (two products, activation with quantising) and combine. */
const FRONT_KERNELS = 3;
const BACK_KERNELS = 4;

/**
 * DeepEP's low-latency kernels (deepseek-ai/DeepEP @ 030cdf0, csrc/config.hpp, csrc/kernels/internode_ll.cu) as
 * serving engines decode with them: one message per copy from NIC to NIC, or over NVLink inside a node; receive
 * buffers for the worst case, so that no host has to know a count and a CUDA graph holds the layer; grouped products
 * in the masked layout.
 */
export const deepepLowLatency: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'deepep-low-latency',
  summary: "DeepEP's low-latency kernels: a message per copy, static buffers, CUDA graphs (decode)",
  stack: 'serving',
  options,
  create({ maxTokensPerGpu, attentionTensorParallel, host, capturedTokens, overlap, ...chosen }, machine) {
    const { cluster, shape } = machine;
    checkGroups('attentionTensorParallel', attentionTensorParallel, cluster);
    const { hiddenSize, expertHiddenSize } = shape;
    const { payload, scales } = dispatchedHidden(machine);
    const { dispatch, combine, rates, range, note } = deepepExchange(
      machine,
      'low-latency',
      HEADER_BYTES + payload + scales,
      2 * hiddenSize,
    );
    const activation = expertHiddenSize * (bitsOf(shape.activationDtype) / 8);
    const rows = (load: ServingLoad) => bufferedRows('masked', load);
    const costs: ServingCosts = {
      traffic: () => new PerCopy(cluster.gpus),
      dispatch,
      combine,
      layout: 'masked',
      expertTensorParallel: 1,
      attentionTensorParallel,
      entering: 'rows',
      plansOnArrival: false,
      sendsPadding: false,
      mostRowsPerSlot: cluster.gpus * maxTokensPerGpu,
      buffers: {
        received: (load) => rows(load) * (payload + scales),
        intermediates: (load) => rows(load) * (2 * 2 * expertHiddenSize + activation),
        results: (load) => rows(load) * 2 * hiddenSize,
      },
      host: servingHost(chosen, {
        mode: host,
        capturedTokens,
        frontKernels: FRONT_KERNELS,
        backKernels: BACK_KERNELS,
        blockingRead: false,
      }),
      quantises: false,
      overlap,
      // Between sending and receiving a hook lets the NICs work by themselves: no multiprocessor waits for them.
      slowdown: 1,
    };
    return {
      name: 'deepep-low-latency',
      ...servingRuntime(costs, machine),
      buffers: 'static',
      dispatchBytes: dispatch.bytes,
      combineBytes: combine.bytes,
      floor: PER_COPY,
      rates,
      exchangeRange: range,
      communicationBytes: (slots) => lowLatencyBufferBytes(hiddenSize, slots, maxTokensPerGpu),
      maxTokensPerWave: maxTokensPerGpu,
      notes: (traits, routing) => [
        note,
        ...hostNotes('deepep-low-latency', costs.host, cluster.profile, traits),
        ...partNotes('deepep-low-latency', maxTokensPerGpu, overlap, routing),
      ],
    };
  },
};
