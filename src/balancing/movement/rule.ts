import { z } from 'zod';

/** When the weights of a new placement travel, and when it comes into force; steps count from the plan on. */
export interface Timing {
  /** Step in which the placement comes into force. */
  force: number;
  /** Steps, from the plan on, beside whose layers weights travel; 0: they travel before the step, which waits. */
  beside: number;
}

/** 10 ms for 26 layers of 64 experts: DeepSeek-V2-Lite in vllm#28369. */
export const PLAN_SECONDS_PER_EXPERT = 6e-6;

/** How weights travel between steps. */
export interface MovementRule<Options = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** Weights travel beside the layers of steps, into a staging buffer. */
  background: boolean;
  /** Only for placements that are planned for the batch at hand. */
  ahead: boolean;
  /** Weights cost nothing: no time, no bytes. */
  free: boolean;
  /** Where weights come from; whether slots are aligned with those in force. */
  source(options: Options): { from: 'gpus' | 'host'; alignSlots: boolean };
  /**
   * @param layer the model's number of the layer
   * @param layers MoE layers of the model
   */
  timing(options: Options, layer: number, layers: number): Timing;
  /** Host seconds that planning a new placement takes; without them, none. */
  planning?(options: Options): PlanningCost;
}

/** Host time of a plan. */
export interface PlanningCost {
  /** Of all layers of the model together. */
  planSeconds: number;
  /** Of every expert of every layer. */
  planSecondsPerExpert: number;
}

/** Host seconds of one layer's share of a plan. @param layers MoE layers of the model */
export function planSecondsOfLayer(
  { planSeconds, planSecondsPerExpert }: PlanningCost,
  experts: number,
  layers: number,
): number {
  return planSeconds / layers + planSecondsPerExpert * experts;
}

/** Options of movements that cost something. */
export const sourceFields = {
  from: z
    .enum(['gpus', 'host'])
    .default('gpus')
    .describe('Where weights come from: a GPU that holds the expert, or host memory.'),
  alignSlots: z
    .boolean()
    .default(true)
    .describe('Experts that a GPU keeps stay in their slots, so that only changed slots move.'),
};

/** Options of movements whose plans take time. */
export const planningFields = {
  planSeconds: z
    .number()
    .nonnegative()
    .default(0)
    .describe('Host seconds of every plan, of all layers of the model together, beside those per expert.'),
  planSecondsPerExpert: z
    .number()
    .nonnegative()
    .default(PLAN_SECONDS_PER_EXPERT)
    .describe(
      'Host seconds of a plan per expert and layer. The default is vLLM’s planner: 10 ms for the 26 × 64 experts of ' +
        'DeepSeek-V2-Lite (vllm#28369); before that 80 ms (48e-6); SGLang about 1 s for 58 × 256 (sglang#7879: 67e-6).',
    ),
};

/** Option of movements that take the model's layers a few at a time. */
export const layersPerStep = z.int().min(1).default(1).describe('Layers of the model that move in one step.');
