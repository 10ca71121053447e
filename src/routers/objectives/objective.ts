import { z } from 'zod';
import type { Random } from '../../routing/index.js';
import { LinearRouter } from '../linear-router.js';
import type { Gate, Pass } from '../mixture.js';
import type { Router } from '../router.js';

/** What an objective must know before training. */
export interface ObjectiveSetting {
  dimension: number;
  experts: number;
  topK: number;
  /** Nodes that tokens come from; experts are split over them contiguously. */
  nodes: number;
  /** Standard normal numbers for first values. */
  normal: () => number;
}

/** A router on its way under one objective. */
export interface Training {
  router: Router;
  gate: Gate;
  /** Added to the gates when experts are chosen, never to their weights; null: there is none. */
  bias: Float64Array | null;
  /** Adds the objective's gradients to a pass and to the router; returns the objective's value. */
  add(pass: Pass, random: Random): number;
  /** After step `step` (from 1), whose copies by expert are `loads`. */
  update(loads: Int32Array, step: number): void;
}

/** What a router is trained for beside its task. */
export interface Objective<Options = never> {
  kind: string;
  /** One line for lists and tables. */
  summary: string;
  options: z.ZodType<Options>;
  /** What its paper claims that this lab cannot show, each with its source. */
  notSimulated: readonly string[];
  /** @throws RangeError where the options don't fit the setting */
  start(options: Options, setting: ObjectiveSetting): Training;
}

/** A linear router with nothing but its task. */
export function taskOnly(
  { dimension, experts, normal }: ObjectiveSetting,
  gate: Gate = 'softmax',
): Training & { router: LinearRouter } {
  return {
    router: new LinearRouter(dimension, experts, normal, false),
    gate,
    bias: null,
    add: () => 0,
    update: () => undefined,
  };
}

export const gateOption = z
  .enum(['sigmoid', 'softmax'])
  .default('sigmoid')
  .describe('How scores become gate weights; the bias is added to these.');
