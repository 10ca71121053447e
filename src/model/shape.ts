import { z } from 'zod';
import { DTYPES } from '../hardware/index.js';

const count = z.int().min(1);

const attentionSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('gqa'),
    heads: count,
    kvHeads: count,
    headSize: count,
    window: count.optional().describe('Tokens that a windowed layer attends to.'),
    windowEvery: count.optional().describe('Every n-th layer has the window; default: all of them.'),
  }),
  z.strictObject({
    kind: z.literal('mla'),
    heads: count,
    kvRank: count,
    queryRank: count.nullable().describe('null: queries are not compressed.'),
    ropeSize: count,
    nopeSize: count,
    valueSize: count,
  }),
]);

const fields = {
  name: z.string().min(1),
  hiddenSize: count.describe('Model width D.'),
  expertHiddenSize: count.describe('Intermediate width H of one expert.'),
  experts: z.int().min(1).max(4096).describe('Routed experts per layer.'),
  topK: count.describe('Experts per token.'),
  moeLayers: count.describe('Layers with experts.'),
  sharedExperts: z.int().min(0).describe('Experts that every token uses, of the same width.'),
  weightDtype: z.enum(DTYPES).describe('Format of the expert weights.'),
  activationDtype: z
    .enum(DTYPES)
    .describe('Format of what is dispatched and multiplied; default: fp8 for fp8 weights, else bf16.'),
  routerGroups: count.describe('Groups that the router first chooses among.'),
  topGroups: count.describe('Groups that a token may use.'),
  attention: attentionSchema,
  denseLayers: z.int().min(0).describe('Layers without experts.'),
  denseHiddenSize: count.describe('Intermediate width of a dense layer.'),
  vocabulary: count,
  denseDtype: z
    .enum(DTYPES)
    .describe(
      'Format of attention, dense layers and shared experts; default: fp8 where the experts ship in fp8, else bf16.',
    ),
  kvDtype: z.enum(DTYPES).describe('Format of the KV cache; default bf16.'),
};

/** Any fields of a shape, to override a preset's. */
export const shapeOverridesSchema = z.strictObject(fields).partial();

/** What of a Mixture-of-Experts model decides time and memory. */
export const shapeSchema = z.strictObject({
  ...fields,
  name: fields.name.optional(),
  moeLayers: fields.moeLayers.default(1),
  sharedExperts: fields.sharedExperts.default(0),
  weightDtype: fields.weightDtype.default('bf16'),
  activationDtype: fields.activationDtype.optional(),
  routerGroups: fields.routerGroups.default(1),
  topGroups: fields.topGroups.default(1),
  attention: fields.attention.optional(),
  denseLayers: fields.denseLayers.default(0),
  denseHiddenSize: fields.denseHiddenSize.optional(),
  vocabulary: fields.vocabulary.optional(),
  denseDtype: fields.denseDtype.optional(),
  kvDtype: fields.kvDtype.optional(),
});

export type ShapeInput = z.input<typeof shapeSchema>;
type ParsedShape = z.output<typeof shapeSchema>;

/** A shape with its defaults filled in. */
export type MoeShape = ParsedShape & {
  name: string;
  activationDtype: NonNullable<ParsedShape['activationDtype']>;
};

/**
 * Fills in what depends on other fields.
 * @throws RangeError where the fields contradict each other
 */
export function completeShape(shape: ParsedShape): MoeShape {
  const { experts, topK, routerGroups, topGroups } = shape;
  if (topK > experts) throw new RangeError(`topK: found ${topK}, allowed: at most experts = ${experts}`);
  if (experts % routerGroups !== 0) {
    throw new RangeError(`routerGroups: found ${routerGroups}, allowed: a divisor of experts = ${experts}`);
  }
  if (topGroups > routerGroups) {
    throw new RangeError(`topGroups: found ${topGroups}, allowed: at most routerGroups = ${routerGroups}`);
  }
  if (topK > (topGroups * experts) / routerGroups) {
    throw new RangeError(
      `topK: found ${topK}, allowed: at most the ${(topGroups * experts) / routerGroups} experts of ${topGroups} groups`,
    );
  }
  return {
    ...shape,
    name: shape.name ?? 'custom',
    activationDtype: shape.activationDtype ?? (shape.weightDtype === 'fp8' ? 'fp8' : 'bf16'),
  };
}
