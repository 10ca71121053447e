import { z } from 'zod';
import { bitsOf } from '../../hardware/index.js';
import { bufferedRows, rowsBetween } from '../row-layout.js';
import type { RuntimeDefinition } from '../runtime.js';
import { countedNote, OncePerGpu, oncePerGpuFloor } from '../traffic/index.js';
import { deepepExchange, dispatchedHidden } from './deepep.js';
import { normalBufferBytes } from './deepep-buffers.js';
import { attentionOptions, checkGroups } from './group-exchange.js';
import { overlapNotes, overlapOptions, slowdownBeside } from './overlap.js';
import { hostNotes, planOptions, servingHost } from './serving-host.js';
import type { ServingCosts } from './serving-costs.js';
import { servingRuntime } from './serving-runtime.js';
import { partNotes, waveOptions } from './waves.js';

const options = z.strictObject({
  preset: z.literal('deepep-normal'),
  layout: z
    .enum(['contiguous', 'fused', 'loop'])
    .default('contiguous')
    .describe(
      "How the rows of experts lie: contiguous, aligned to 128 per expert (DeepGEMM's, as SGLang and vLLM run it); " +
        'fused: one after another; loop: one expert after another.',
    ),
  ...attentionOptions,
  ...planOptions,
  ...overlapOptions,
  ...waveOptions,
});

/** Multiprocessors of the exchange kernels: with 24 the measured ones were fastest (DeepEP's default is 20). */
const EXCHANGE_SMS = 24;

/** Router, top-k, quantising, layout and notification; dispatch, sort, experts (two products, activation), gather, combine. */
const FRONT_KERNELS = 5;
const BACK_KERNELS = 8;

/** An int64 id and a float weight per choice. */
const CHOICE_BYTES = 8 + 4;

/**
 * DeepEP's normal kernels (deepseek-ai/DeepEP @ 030cdf0 and 04b06f7) as serving engines prefill with them: a token
 * goes once to every GPU that needs it, between nodes once to every node and on over NVLink, in fp8 where the model
 * is; results are summed on the way back, in bf16. The host reads how many tokens will come before it can launch the
 * dispatch, so that no CUDA graph holds the layer; grouped products in the contiguous layout.
 */
export const deepepNormal: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'deepep-normal',
  summary: "DeepEP's normal kernels: a token once per node and GPU, buffers that follow the load (prefill)",
  stack: 'serving',
  options,
  create({ layout, attentionTensorParallel, overlap, slowdown, maxTokensPerWave, ...chosen }, machine) {
    const { cluster, shape } = machine;
    checkGroups('attentionTensorParallel', attentionTensorParallel, cluster);
    const { hiddenSize, expertHiddenSize, topK } = shape;
    const { payload, scales } = dispatchedHidden(machine);
    const { dispatch, combine, rates, range, note } = deepepExchange(
      machine,
      'normal',
      payload + scales + topK * CHOICE_BYTES,
      2 * hiddenSize,
    );
    const slower = slowdown ?? slowdownBeside(machine, EXCHANGE_SMS);
    const activation = expertHiddenSize * (bitsOf(shape.activationDtype) / 8);
    const costs: ServingCosts = {
      traffic: () => new OncePerGpu(machine),
      dispatch,
      combine,
      layout,
      expertTensorParallel: 1,
      attentionTensorParallel,
      entering: 'rows',
      plansOnArrival: false,
      sendsPadding: false,
      mostRowsPerSlot: 0,
      buffers: {
        // Tokens as they come, and the aligned rows that they are copied to.
        received: (load) => load.received * dispatch.bytes + bufferedRows(layout, load) * (payload + scales),
        intermediates: (load) => rowsBetween(layout, load) * (2 * 2 * expertHiddenSize + activation),
        // Rows of the second product, and their weighted sum by token.
        results: (load) => (bufferedRows(layout, load) + load.received) * 2 * hiddenSize,
      },
      host: servingHost(chosen, {
        mode: 'eager',
        capturedTokens: [],
        frontKernels: FRONT_KERNELS,
        backKernels: BACK_KERNELS,
        blockingRead: true,
      }),
      quantises: bitsOf(shape.activationDtype) <= 8,
      overlap,
      slowdown: slower,
    };
    const { gpus, gpusPerNode, profile } = cluster;
    return {
      name: 'deepep-normal',
      ...servingRuntime(costs, machine),
      buffers: 'dynamic',
      dispatchBytes: dispatch.bytes,
      combineBytes: combine.bytes,
      floor: oncePerGpuFloor(machine),
      rates,
      exchangeRange: range,
      communicationBytes: () => normalBufferBytes(hiddenSize, gpus, gpusPerNode, EXCHANGE_SMS),
      maxTokensPerWave,
      notes: (traits, routing) => [
        note,
        ...(routing.hasTokens ? [] : [`deepep-normal: ${countedNote(machine)}`]),
        ...hostNotes('deepep-normal', costs.host, profile, traits),
        ...partNotes('deepep-normal', maxTokensPerWave, overlap, routing),
        ...overlapNotes('deepep-normal', overlap, slower),
      ],
    };
  },
};
