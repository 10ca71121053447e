import { z } from 'zod';
import { assignBits, precisionCosts } from './assign-bits.js';
import { effectiveBits } from './effective-bits.js';
import type { PrecisionOptions } from './options.js';
import type { Sensitivity } from './sensitivity.js';

/** Bits of every expert, as `epsim plan --precision` writes them. */
export const precisionPlanSchema = z.strictObject({
  schema: z.literal('epsim/precision-plan@1'),
  layerIds: z.array(z.int().min(0)).min(1).describe("The model's own number of each layer."),
  bits: z
    .array(z.array(z.int().min(1).max(16)).min(1))
    .min(1)
    .describe('[layer][expert].'),
  averageBits: z.number().describe('Mean of all of them.'),
  proxy: z.array(z.number()).describe('Weighted loss Σ φ w^1.5 ε of each layer: a proxy, no accuracy.'),
});

export type PrecisionPlan = z.output<typeof precisionPlanSchema>;

/** Bits at which a model's routed experts are held and read. */
export interface ExpertPrecision {
  /** Bits per weight in memory, scales included, by layer of the routing and expert. */
  bits: readonly Float64Array[];
  /** Share of the weight bandwidth that kernels reach which de-quantise what they read. */
  dequantisation: number;
  /** Bits per weight of all that is not a routed expert, scales included; null: as shipped. */
  restBits: number | null;
}

/**
 * Plans every layer of a sensitivity by itself.
 * @param averageBits mean bits of a layer's experts, at most; of all of them together a whole number is spent
 * @throws RangeError where no plan keeps within them
 */
export function planPrecision(sensitivity: Sensitivity, averageBits: number): PrecisionPlan {
  const { bits, counts, gateWeights, losses } = sensitivity;
  const experts = counts[0].length;
  const widest = bits[bits.length - 1];
  if (averageBits > widest) {
    throw new RangeError(`found ${averageBits}, allowed: at most ${widest}, the widest of the losses`);
  }
  // The guard keeps 2.3 · 10 from becoming 22 by rounding.
  const budget = Math.floor(averageBits * experts + 1e-9);
  const layers = counts.map((own, layer) =>
    assignBits(
      precisionCosts({ counts: own, gateWeights: gateWeights[layer], losses: losses[layer] }),
      bits,
      budget,
    ),
  );
  const all = layers.flatMap((layer) => layer.bits);
  return {
    schema: 'epsim/precision-plan@1',
    layerIds: sensitivity.layerIds ?? counts.map((_, layer) => layer),
    bits: layers.map((layer) => layer.bits),
    averageBits: all.reduce((sum, own) => sum + own, 0) / all.length,
    proxy: layers.map(({ cost }) => cost),
  };
}

/**
 * Weighted loss of a layer whose experts all have the same bits, by width: what a plan is compared with.
 * @param layer index among those of the sensitivity
 */
export function uniformProxies({ bits, counts, gateWeights, losses }: Sensitivity, layer: number): number[] {
  const costs = precisionCosts({
    counts: counts[layer],
    gateWeights: gateWeights[layer],
    losses: losses[layer],
  });
  return bits.map((_, width) => costs.reduce((sum, own) => sum + own[width], 0));
}

/**
 * Rows of a table by the layers of the routing: found by the model's number of each, or one row for all.
 * @throws RangeError where a layer has none
 */
export function rowsOfLayers<Row>(
  rows: readonly Row[],
  rowIds: readonly number[] | undefined,
  layerIds: readonly number[],
): Row[] {
  return layerIds.map((id) => {
    const row = rowOfLayer(rows, rowIds, id);
    if (row !== undefined) return row;
    throw new RangeError(`found nothing for layer ${id}, allowed: a row for every layer, or one for all`);
  });
}

/** The same for one layer; undefined where it has none. */
export function rowOfLayer<Row>(
  rows: readonly Row[],
  rowIds: readonly number[] | undefined,
  id: number,
): Row | undefined {
  if (rows.length === 1) return rows[0];
  return rows[rowIds === undefined ? id : rowIds.indexOf(id)];
}

/**
 * What bits per weight are in memory, and how they are read.
 * @param bits by layer of the routing and expert
 */
export function expertPrecision(
  bits: readonly (readonly number[])[],
  options: Pick<PrecisionOptions, 'overheadBits' | 'residualShare' | 'dequantisation' | 'restBits'>,
): ExpertPrecision {
  const { dequantisation, restBits, overheadBits } = options;
  return {
    bits: bits.map((own) => Float64Array.from(own, (width) => effectiveBits(width, options))),
    dequantisation,
    restBits: restBits === undefined ? null : restBits + overheadBits,
  };
}

/**
 * Bytes of a model's weights: Σ over experts of weights · bits / 8, and the rest.
 * @param bits per weight in memory, [layer][expert], every layer of the model
 * @param weights of one expert
 * @param rest weights that are not a routed expert's, and their bits
 */
export function modelBytes(
  bits: readonly ArrayLike<number>[],
  weights: number,
  rest: { weights: number; bits: number },
): number {
  let sum = 0;
  for (const layer of bits) for (let e = 0; e < layer.length; e++) sum += layer[e];
  return (weights * sum + rest.weights * rest.bits) / 8;
}
