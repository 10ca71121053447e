import { z } from 'zod';
import { PHASES, type Phase } from '../../execution/index.js';
import { parseInput } from '../../scenario/index.js';
import type { Recording } from '../../simulation/index.js';

const amount = z.number();
const matrix = z.array(z.array(amount)).min(1);
const span = { start: amount, end: amount };
const gpu = z.int().min(0);

const layer = z.looseObject({
  layer: z.int(),
  ...span,
  slices: z.array(
    z.looseObject({
      gpu,
      stream: z.string(),
      phase: z.enum([...PHASES, 'wait'] as [Phase, ...(Phase | 'wait')[]]),
      ...span,
      facts: z.record(z.string(), z.union([z.number(), z.string()])),
    }),
  ),
  memory: z.array(z.looseObject({ gpu, time: amount, bytes: z.array(amount) })),
});

const recordingSchema = z.looseObject({
  schema: z.literal('epsim/recording@1'),
  gpus: z.int().min(1),
  layers: z.array(z.int()).min(1),
  memoryCategories: z.array(z.string()).min(1),
  homeLoads: matrix,
  policies: z
    .array(
      z.looseObject({
        policy: z.int().min(0),
        memoryLimit: amount,
        steps: z.array(z.looseObject({ step: z.int(), layers: z.array(layer).min(1) })),
        seconds: z.array(amount).min(1),
        loads: matrix,
        traffic: matrix,
      }),
    )
    .min(1),
});

/**
 * Checks a recording that was read from a file, as far as pictures of a result of `policies` policies need it.
 * @param file name for messages
 * @throws ScenarioError
 */
export function parseRecording(input: unknown, policies: number, file: string): Recording {
  const sized = recordingSchema.refine(
    (recording) =>
      recording.policies.length === policies && recording.policies.every(({ policy }) => policy < policies),
    { error: `a recording of the ${policies} policies of the result beside it`, path: ['policies'] },
  );
  return parseInput(sized, input, file) as unknown as Recording;
}
