import { z } from 'zod';
import type { Placement } from '../balancing/index.js';
import type { Executor } from '../engine/index.js';
import { bitsOf } from '../hardware/index.js';
import type { LayerAmounts } from './layer-amounts.js';
import type { TimedKernel } from './machine.js';
import type { ResidentTraining } from './memory.js';
import { PHASES, type Phase } from './phases.js';
import type { Rendezvous } from './runtime.js';

const gradientDtype = z.enum(['fp32', 'bf16']);

const optimizer = z.strictObject({
  states: z.int().min(0).default(2).describe('Numbers kept per weight; Adam: two moments.'),
  stateDtype: gradientDtype.default('fp32'),
  masterDtype: gradientDtype
    .nullable()
    .default('fp32')
    .describe('Format of the copy of the weights that is updated; null: the weights themselves are.'),
  sharded: z
    .boolean()
    .default(true)
    .describe(
      'Divided over the expert-data-parallel group, as a distributed optimizer does: gradients are reduced and ' +
        'scattered, updated weights gathered. Else gradients are reduced to all (all-reduce), and nothing is gathered.',
    ),
});

/** What of training a scenario can choose. */
export const trainingSchema = z.strictObject({
  layers: z
    .int()
    .min(1)
    .optional()
    .describe(
      'MoE layers of a pipeline stage, from workload.layer on; default 1. With layer "all": all of them, divided over the stages.',
    ),
  recompute: z
    .enum(['none', 'activation', 'moe', 'full'])
    .default('none')
    .describe(
      'What is computed again before the backward pass instead of being kept: nothing; the product of the activation; ' +
        'the whole MoE layer with its exchanges; the whole layer, of which all but the attention is simulated.',
    ),
  borrowedWeights: z
    .enum(['keep', 'fetch-again'])
    .default('keep')
    .describe('Borrowed weights stay until their backward pass, or travel a second time for it.'),
  gradientDtype: gradientDtype
    .default('fp32')
    .describe('Format in which gradients of weights are added up and reduced.'),
  sentGradientDtype: gradientDtype
    .default('bf16')
    .describe('Format in which gradients of borrowed and replicated experts travel home.'),
  expertDataParallel: z
    .int()
    .min(1)
    .default(1)
    .describe('GPUs that hold the same experts, this one included, one per expert-parallel group.'),
  optimizer: optimizer
    .nullable()
    .default(null)
    .describe('States of the optimizer in memory, and the time of its step; null: neither.'),
  stages: z.int().min(1).max(256).default(1).describe('Pipeline stages, each on GPUs of its own.'),
  microBatches: z
    .int()
    .min(1)
    .max(4096)
    .default(1)
    .describe('Micro-batches of a training step: batches of the workload, whose gradients are added up.'),
});

export type TrainingOptions = z.output<typeof trainingSchema>;
export type Recompute = TrainingOptions['recompute'];

/** Parts of a training step, by which its tasks are told apart. */
export const PASSES = ['forward', 'recompute', 'backward', 'update', 'pipeline'] as const;

export type Pass = (typeof PASSES)[number];

/** Label of a phase in a pass; those of the forward pass are the labels of the phases. */
export function labelIn(pass: Pass, phase: Phase): number {
  return PASSES.indexOf(pass) * PHASES.length + PHASES.indexOf(phase);
}

/** Bytes that training keeps of every weight. */
export function residentTraining({
  gradientDtype: gradients,
  optimizer: chosen,
  expertDataParallel,
}: TrainingOptions): ResidentTraining {
  const gradient = bitsOf(gradients) / 8;
  if (chosen === null) return { gradient, optimizer: 0 };
  const states = (chosen.states * bitsOf(chosen.stateDtype)) / 8;
  const master = chosen.masterDtype === null ? 0 : bitsOf(chosen.masterDtype) / 8;
  return { gradient, optimizer: (states + master) / (chosen.sharded ? expertDataParallel : 1) };
}

/** What every GPU sends, and receives, in a training step for the weights that its expert-data-parallel group shares. */
export interface RingShares {
  /** Of its gradients' bytes. */
  gradients: number;
  /** Of its weights' bytes. */
  weights: number;
}

/** Rings over an expert-data-parallel group of n: (n − 1)/n of the data to scatter or to gather, twice that for both. */
export function ringShares({ expertDataParallel: n, optimizer: chosen }: TrainingOptions): RingShares {
  const once = (n - 1) / n;
  return chosen?.sharded ? { gradients: once, weights: once } : { gradients: 2 * once, weights: 0 };
}

/** Bytes per copy of the exchanges of a pass. */
export interface CopyBytes {
  dispatch: number;
  combine: number;
}

/**
 * One pipeline stage as tasks: the layers of a micro-batch forward, then backward, then what ends a training step.
 * Tensors that are saved outlast the forward graph; the backward graph frees them. `amounts`: layer by layer, of
 * the micro-batch that runs.
 */
export interface StageProgram {
  rowRounding: number;
  kernel: TimedKernel;
  forwardBytes: CopyBytes;
  backwardBytes: CopyBytes;
  /** Bytes of exchanged counts per layer of a forward pass. */
  metadataBytes: number;
  forward: Executor;
  backward: Executor;
  update: Executor;
  rendezvous: { forward: Rendezvous[]; backward: Rendezvous[] };
  newAmounts(): LayerAmounts;
  fillForward(amounts: readonly LayerAmounts[]): void;
  /** @param last whether the step's gradients are complete with this micro-batch */
  fillBackward(amounts: readonly LayerAmounts[], last: boolean): GradientBytes;
  /** @param placements by layer; returns the bytes of updated weights that travel */
  fillUpdate(placements: readonly Placement[]): { replicas: number; gathered: number };
}

/** Bytes that gradients of weights put on the links. */
export interface GradientBytes {
  /** Of borrowed weights, and of replicas, on their way to the experts' homes. */
  borrowed: number;
  replicas: number;
  /** Reduced over the expert-data-parallel group. */
  reduced: number;
}
