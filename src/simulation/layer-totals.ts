import type { LayerLoads, LayerPlan, LayerWork } from '../balancing/index.js';
import type { PortLoads } from '../hardware/index.js';
import { skewFrom, skewOf, type Skew } from '../metrics/index.js';
import type { Totals } from './totals.js';

const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };

/**
 * Adds what a layer's plan computes where, whatever it takes.
 * @param layers how many layers this one counts as
 * @returns γ of the GPUs; reused
 */
export function addLayer(
  totals: Totals,
  work: LayerWork,
  ports: PortLoads,
  base: LayerLoads,
  gated: boolean,
  layers = 1,
): Skew {
  totals.layers += layers;
  totals.routed += layers * base.total;
  totals.moved += layers * work.moved;
  addLocality(totals, work, ports, base, layers);
  totals.portSkew += layers * ports.skew();
  totals.quantised += layers * work.quantised;
  if (gated) totals.gatedLayers += layers;
  skewFrom(work.kept, work.largestInstance, work.instanceSquares, base.experts, skew);
  totals.expertSkew.maxOverMean += layers * skew.maxOverMean;
  totals.expertSkew.coefficientOfVariation += layers * skew.coefficientOfVariation;
  skewOf(computedBy(work), skew);
  totals.gpuSkew.maxOverMean += layers * skew.maxOverMean;
  totals.gpuSkew.coefficientOfVariation += layers * skew.coefficientOfVariation;
  return skew;
}

/** @param ports says which GPUs are on one node */
function addLocality(
  totals: Totals,
  { send }: LayerWork,
  { gpus, gpusPerNode }: PortLoads,
  { homeSend, total }: LayerLoads,
  layers: number,
): void {
  let onOwnGpu = 0;
  let onOwnNode = 0;
  for (let source = 0; source < gpus; source++) {
    const row = source * gpus;
    const first = source - (source % gpusPerNode);
    const end = Math.min(first + gpusPerNode, gpus);
    onOwnGpu += send[row + source];
    for (let gpu = first; gpu < end; gpu++) onOwnNode += send[row + gpu];
  }
  let placed = total;
  if (send !== homeSend) {
    placed = 0;
    for (let cell = 0; cell < send.length; cell++) placed += send[cell];
  }
  totals.placed += layers * placed;
  totals.onOwnGpu += layers * onOwnGpu;
  totals.onOwnNode += layers * onOwnNode;
}

/** Copies by GPU, those of shared experts included where they are part of the layer. */
function computedBy({ copies, shared }: LayerWork): ArrayLike<number> {
  let sum = 0;
  for (let gpu = 0; gpu < shared.length; gpu++) sum += shared[gpu];
  return sum === 0 ? copies : copies.map((routed, gpu) => routed + shared[gpu]);
}

/** Adds what a plan rewrites of a layer. @param tokens of the batch */
export function addRewrite(
  totals: Totals,
  { copies, keptGateMass, gpusRouted, gpusRewritten }: NonNullable<LayerPlan['rewrite']>,
  tokens: number,
  layers = 1,
): void {
  totals.rewritten += layers * copies;
  totals.gateMass += layers * keptGateMass * tokens;
  totals.gateTokens += layers * tokens;
  totals.gpusRouted += layers * gpusRouted;
  totals.gpusRewritten += layers * gpusRewritten;
}

/**
 * Adds what a plan drops of a layer.
 * @param tokens of the batch
 * @param layers how many layers this one counts as
 */
export function addDrop(
  totals: Totals,
  { kept, keptGateMass, tokensLost }: NonNullable<LayerPlan['drop']>,
  { counts, experts }: LayerLoads,
  home: Int32Array,
  tokens: number,
  layers = 1,
): void {
  for (let cell = 0; cell < counts.length; cell++) {
    const dropped = layers * (counts[cell] - kept[cell]);
    if (dropped === 0) continue;
    const expert = cell % experts;
    totals.dropped += dropped;
    totals.droppedByExpert[expert] += dropped;
    totals.droppedByGpu[home[expert]] += dropped;
  }
  if (keptGateMass !== null) {
    totals.gateMass += layers * keptGateMass * tokens;
    totals.gateTokens += layers * tokens;
  }
  totals.tokensLost += layers * (tokensLost ?? 0);
}
