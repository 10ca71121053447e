import { z } from 'zod';
import { axisKinds, type AxisOptions } from './axes/index.js';

const axes = z.discriminatedUnion(
  'kind',
  axisKinds.map(({ options, summary }) => options.describe(summary)) as never,
) as unknown as z.ZodType<AxisOptions>;

/** A sweep as a file holds it. */
export const sweepSchema = z.strictObject({
  $schema: z.string().optional(),
  name: z.string().min(1).max(200).optional(),
  scenario: z
    .union([z.string().regex(/\.json$/, 'a scenario, or the path of one (.json)'), z.looseObject({})])
    .describe('The scenario that is changed, or the path of its file; its own paths start at that file.'),
  axes: z
    .array(axes)
    .max(100)
    .default([])
    .describe(
      'Every setting of the first with every setting of the second, and so on; the last one changes fastest.',
    ),
  seeds: z
    .union([z.int().min(1).max(1_000_000), z.array(z.union([z.int(), z.string().min(1)])).min(1)])
    .optional()
    .describe(
      "Replications: every point runs with each of these seeds; a number n stands for n seeds from the scenario's on.",
    ),
});

export type SweepInput = z.input<typeof sweepSchema>;
export type Sweep = z.output<typeof sweepSchema>;

/** The JSON Schema that editors complete sweeps from; the scenario in it is completed from its own. */
export function sweepJsonSchema(): object {
  const schema = z.toJSONSchema(sweepSchema, { io: 'input', target: 'draft-07' }) as unknown as {
    properties: { scenario: { anyOf: object[] } };
  };
  schema.properties.scenario.anyOf[1] = { $ref: 'scenario.schema.json' };
  return { title: 'epsim sweep', ...schema };
}
