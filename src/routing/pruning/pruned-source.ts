import { randomStream } from '../random.js';
import { addLoads, NO_EXPERT, type LayerBatch, type RoutingSource, type TokenTable } from '../source.js';
import { pruningOf, type PruningOptions } from './index.js';
import type { Pruner, WeightedTokens } from './rule.js';

/**
 * A source whose tokens skip some of their experts before any policy sees them. The copies that are skipped have the
 * expert `NO_EXPERT` and no gate weight.
 * @param seed names draws
 * @throws RangeError where the routing has no gate weights, or the options don't fit it
 */
export function prunedSource(
  source: RoutingSource,
  options: PruningOptions,
  seed: number | string,
): RoutingSource {
  if (!source.hasGateWeights) {
    throw new RangeError(
      'found routing without gate weights, allowed: routing with them (workload.routing.gateWeights: true, or a ' +
        'recording that has them)',
    );
  }
  const key = JSON.stringify([options, seed]);
  let ofSource = known.get(source);
  if (!ofSource) known.set(source, (ofSource = new Map<string, RoutingSource>()));
  let pruned = ofSource.get(key);
  if (!pruned) ofSource.set(key, (pruned = prune(source, options, seed)));
  return pruned;
}

/** Whoever keeps runs over a source knows them again by it. */
const known = new WeakMap<RoutingSource, Map<string, RoutingSource>>();

function prune(source: RoutingSource, options: PruningOptions, seed: number | string): RoutingSource {
  const rule = pruningOf(options);
  const share = rule.calibrationShare(options);
  const learned =
    share > 0 ? source.calibration(share).layers.map(({ tokens }) => tokens as WeightedTokens) : [];
  const pruned = withPruner(source, rule.start(options, source.topK, learned), seed);
  return { ...pruned, notes: [...source.notes, ...rule.notes(options)] };
}

function withPruner(source: RoutingSource, pruner: Pruner, seed: number | string): RoutingSource {
  const { experts, layerIds, resample } = source;
  const prune = (into: PrunedBatch, batch: LayerBatch, when: number | string) =>
    into.take(batch, () => randomStream(seed, `pruning/${when}/${layerIds[batch.layer]}`));
  return {
    ...source,
    // Padding is counted before copies are skipped.
    hasPadding: false,
    prunes: true,
    calibration(share) {
      const calibration = source.calibration(share);
      const layers = calibration.layers.map((batch) =>
        prune(new PrunedBatch(pruner, experts), batch, 'calibration'),
      );
      const loads = layers.map(({ counts }) => addLoads(counts, experts, new Float64Array(experts)));
      return { ...calibration, layers, loads };
    },
    start() {
      const stream = source.start();
      const layers = layerIds.map(() => new PrunedBatch(pruner, experts));
      return {
        next() {
          const step = stream.next();
          if (step === null) return null;
          step.layers.forEach((batch) => prune(layers[batch.layer], batch, step.step));
          return { ...step, layers };
        },
      };
    },
    // What a rule has learned stays: a replicate draws other sequences of what is replayed.
    resample: resample && ((drawn) => withPruner(resample(drawn), pruner, drawn)),
  };
}

/** A layer's batch without what is pruned; its arrays are reused. */
class PrunedBatch implements LayerBatch {
  layer = 0;
  counts = new Int32Array(0);
  tokens: TokenTable | null = null;
  pruned = { copies: 0, kept: 0, gateMass: 0, keptGateMass: 0 };
  private kept = new Uint8Array(0);

  constructor(
    private readonly pruner: Pruner,
    private readonly experts: number,
  ) {}

  take({ layer, counts, tokens }: LayerBatch, random: () => () => number): this {
    const table = tokens as WeightedTokens;
    const { count, topK, source } = table;
    const copies = count * topK;
    if (this.kept.length !== copies || this.tokens === null) this.allocate(table, counts.length);
    const { kept, experts } = this;
    const own = this.tokens as WeightedTokens;
    own.source = source;
    own.candidates = table.candidates;
    this.layer = layer;
    this.counts.fill(0);
    this.pruner.keep(table, layer, random, kept);
    const sums = { copies, kept: 0, gateMass: 0, keptGateMass: 0 };
    for (let token = 0, copy = 0; token < count; token++) {
      const row = source[token] * experts;
      for (const end = copy + topK; copy < end; copy++) {
        const weight = table.weights[copy];
        sums.gateMass += weight;
        if (kept[copy] === 0) {
          own.experts[copy] = NO_EXPERT;
          own.weights[copy] = 0;
          continue;
        }
        sums.kept++;
        sums.keptGateMass += weight;
        own.experts[copy] = table.experts[copy];
        own.weights[copy] = weight;
        this.counts[row + own.experts[copy]]++;
      }
    }
    this.pruned = sums;
    return this;
  }

  private allocate({ count, topK, source }: WeightedTokens, cells: number): void {
    const copies = count * topK;
    this.kept = new Uint8Array(copies);
    this.counts = new Int32Array(cells);
    const experts = new Uint16Array(copies);
    this.tokens = { count, topK, source, experts, weights: new Float32Array(copies) };
  }
}
