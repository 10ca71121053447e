import { z } from 'zod';

const perExpert = z.array(z.number().min(0)).min(1);

/** What a precision plan is made from: how much experts are used, and what each precision costs each of them. */
export const sensitivitySchema = z
  .strictObject({
    schema: z.literal('epsim/sensitivity@1'),
    bits: z
      .array(z.int().min(1).max(16))
      .min(1)
      .refine((bits) => bits.every((own, i) => i === 0 || own > bits[i - 1]), 'rising bits')
      .describe('Bits per weight that an expert may have, rising.'),
    layerIds: z
      .array(z.int().min(0))
      .optional()
      .describe("The model's own number of each layer; default: 0, 1, … One layer alone stands for all."),
    counts: z.array(perExpert).min(1).describe('Copies of every expert, [layer][expert].'),
    gateWeights: z.array(perExpert).min(1).describe('Sum of its gate weights, [layer][expert].'),
    losses: z
      .array(z.array(perExpert).min(1))
      .min(1)
      .describe('Error of the output where that expert alone has so many bits, [layer][expert][bits].'),
    source: z.string().default(''),
    licence: z.string().default(''),
  })
  .superRefine(({ bits, layerIds, counts, gateWeights, losses }, context) => {
    const layers = counts.length;
    const experts = counts[0].length;
    const refuse = (path: PropertyKey[], message: string) =>
      context.addIssue({ code: 'custom', path, message });
    if (layerIds !== undefined && layerIds.length !== layers) refuse(['layerIds'], `${layers} numbers`);
    const tables = { counts, gateWeights, losses };
    for (const [name, table] of Object.entries(tables)) {
      if (table.length !== layers) refuse([name], `${layers} layers, as counts has`);
      table.forEach((row, layer) => {
        if (row.length !== experts)
          refuse([name, layer], `${experts} experts, as the first layer of counts has`);
      });
    }
    losses.forEach((row, layer) =>
      row.forEach((own, expert) => {
        if (own.length !== bits.length)
          refuse(['losses', layer, expert], `${bits.length} numbers, one for each of bits`);
      }),
    );
  });

export type Sensitivity = z.output<typeof sensitivitySchema>;
