import type { LayerLoads, LayerPlan, LayerWork } from '../balancing/index.js';
import type { PortLoads } from '../hardware/index.js';
import { skewFrom, skewOf, type Skew } from '../metrics/index.js';
import type { Totals } from './totals.js';

const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };

/** Adds what a layer's plan computes where, whatever it takes. */
export function addLayer(
  totals: Totals,
  work: LayerWork,
  ports: PortLoads,
  base: LayerLoads,
  gated: boolean,
): void {
  totals.layers++;
  totals.routed += base.total;
  totals.moved += work.moved;
  totals.portSkew += ports.skew();
  totals.quantised += work.quantised;
  if (gated) totals.gatedLayers++;
  skewOf(work.copies, skew);
  totals.gpuSkew.maxOverMean += skew.maxOverMean;
  totals.gpuSkew.coefficientOfVariation += skew.coefficientOfVariation;
  skewFrom(work.kept, work.largestInstance, work.instanceSquares, base.experts, skew);
  totals.expertSkew.maxOverMean += skew.maxOverMean;
  totals.expertSkew.coefficientOfVariation += skew.coefficientOfVariation;
}

/**
 * Adds what a plan drops of a layer.
 * @param tokens of the batch
 */
export function addDrop(
  totals: Totals,
  { kept, keptGateMass, tokensLost }: NonNullable<LayerPlan['drop']>,
  { counts, experts }: LayerLoads,
  home: Int32Array,
  tokens: number,
): void {
  for (let cell = 0; cell < counts.length; cell++) {
    const dropped = counts[cell] - kept[cell];
    if (dropped === 0) continue;
    const expert = cell % experts;
    totals.dropped += dropped;
    totals.droppedByExpert[expert] += dropped;
    totals.droppedByGpu[home[expert]] += dropped;
  }
  if (keptGateMass !== null) {
    totals.gateMass += keptGateMass * tokens;
    totals.gateTokens += tokens;
  }
  totals.tokensLost += tokensLost ?? 0;
}
