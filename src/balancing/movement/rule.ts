import { z } from 'zod';

/** When the weights of a new placement travel, and when it comes into force; steps count from the plan on. */
export interface Timing {
  /** Step in which the placement comes into force. */
  force: number;
  /** Steps, from the plan on, beside whose layers weights travel; 0: they travel before the step, which waits. */
  beside: number;
}

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

/** Option of movements that take the model's layers a few at a time. */
export const layersPerStep = z.int().min(1).default(1).describe('Layers of the model that move in one step.');
