import { CandidateTable } from './candidates.js';
import { generatorOf, type GeneratorOptions } from './generators/index.js';
import { allTokens, tokensOf, type GeneratorSetting, type LayerDraw } from './generators/generator.js';
import { randomStream, type Random } from './random.js';
import {
  addLoads,
  type Calibration,
  type LayerBatch,
  type RoutingSource,
  type TokenTable,
} from './source.js';

/** A synthetic workload. */
export interface GeneratorSpec {
  options: GeneratorOptions;
  setting: GeneratorSetting;
  /** The model's own number of each layer to draw. */
  layerIds: readonly number[];
  steps: number;
  seed: number | string;
}

/**
 * Steps drawn by a generator. Every (step, layer) has random streams of its own, so that what is drawn for
 * it depends on no other; the calibration batch is drawn like one more step.
 */
export function generatorSource(given: GeneratorSpec): RoutingSource {
  const { options, layerIds, steps } = given;
  const generator = generatorOf(options);
  const setting: GeneratorSetting = {
    ...given.setting,
    tokensBySource: sourcesTokens(given),
  };
  const spec = { ...given, setting };
  const { gpus, experts, topK } = setting;
  const tokens = allTokens(setting);
  const wantsTokens = options.tokens || options.gateWeights;
  const newDraws = () => layerIds.map(() => generator.prepare(options, setting));
  const draws = newDraws();
  const drawsOfStream = () => (draws.some(({ continues }) => continues) ? newDraws() : draws);
  const isConstant = draws.every((draw) => draw.constant);

  const newBatches = () =>
    layerIds.map((_, layer) =>
      newBatch(layer, setting, wantsTokens, options.gateWeights, draws[layer].gates !== undefined),
    );
  const tokensBySource = Int32Array.from({ length: gpus }, (_, source) => tokensOf(setting, source));

  return {
    gpus,
    experts,
    topK,
    layerIds,
    countsMoeLayers: true,
    steps,
    tokensPerGpu: Math.round(tokens / gpus),
    hasTokens: wantsTokens,
    hasGateWeights: options.gateWeights,
    ...(draws[0].gates ? { candidates: experts } : {}),
    importance: null,
    sequenceSteps: generator.sequenceSteps?.(options),
    notes: generator.notes?.(options, setting, steps) ?? [],
    resample: null,
    calibration(): Calibration {
      const batches = newBatches();
      fillBatches(spec, drawsOfStream(), 'calibration', batches);
      return {
        loads: batches.map((batch) => addLoads(batch.counts, experts, new Float64Array(experts))),
        tokens,
        layers: batches,
        label: 'a draw of its own, as large as a step, whatever the share',
      };
    },
    start() {
      const batches = newBatches();
      const own = drawsOfStream();
      let step = 0;
      return {
        next() {
          if (step >= steps) return null;
          if (step === 0 || !isConstant) fillBatches(spec, own, step, batches);
          return { step: step++, tokens, tokensBySource, layers: batches };
        },
      };
    },
  };
}

/** @throws RangeError where the workload has tokens of its own, and others were given */
function sourcesTokens({ options, setting }: GeneratorSpec): Int32Array | undefined {
  const own = generatorOf(options).tokensBySource?.(options, setting) ?? undefined;
  if (own === undefined || setting.tokensBySource === undefined) return own ?? setting.tokensBySource;
  throw new RangeError(
    'name: found a workload with tokens of its own, allowed: no workload.tokens beside it',
  );
}

function newBatch(
  layer: number,
  setting: GeneratorSetting,
  wantsTokens: boolean,
  wantsWeights: boolean,
  wantsCandidates: boolean,
): LayerBatch {
  const { gpus, experts, topK } = setting;
  const count = allTokens(setting);
  const tokens: TokenTable | null = wantsTokens
    ? {
        count,
        topK,
        experts: new Uint16Array(count * topK),
        source: sourcesOf(setting),
        weights: wantsWeights ? new Float32Array(count * topK) : null,
        ...(wantsCandidates ? { candidates: new CandidateTable(count, experts) } : {}),
      }
    : null;
  return { layer, counts: new Int32Array(gpus * experts), tokens };
}

/** Source GPU of every token, source by source. */
function sourcesOf(setting: GeneratorSetting): Uint16Array {
  const sources = new Uint16Array(allTokens(setting));
  for (let source = 0, at = 0; source < setting.gpus; source++) {
    const end = at + tokensOf(setting, source);
    sources.fill(source, at, end);
    at = end;
  }
  return sources;
}

function fillBatches(
  { options, setting, layerIds, seed }: GeneratorSpec,
  draws: LayerDraw[],
  step: number | 'calibration',
  batches: LayerBatch[],
): void {
  const { gpus, experts, topK } = setting;
  const when = 'redraw' in options && options.redraw === 'step' ? step : 'run';
  const perLayer = !('perLayer' in options) || options.perLayer;
  batches.forEach(({ counts, tokens }, layer) => {
    const random = randomStream(seed, `routing/${step}/${layerIds[layer]}`);
    const draw = draws[layer];
    draw.redraw(
      randomStream(seed, `popularity/${when}/${perLayer ? layerIds[layer] : 'all'}`),
      step === 'calibration' ? 0 : step,
    );
    if (tokens === null && draw.counts !== null) {
      for (let source = 0; source < gpus; source++) draw.counts(source, random, counts);
      return;
    }
    const picks = tokens?.experts ?? new Uint16Array(allTokens(setting) * topK);
    if (tokens?.candidates && draw.gates) draw.gates(random, picks, tokens.weights!, tokens.candidates);
    else draw.tokens(random, picks);
    counts.fill(0);
    for (let source = 0, copy = 0; source < gpus; source++) {
      for (let end = copy + tokensOf(setting, source) * topK; copy < end; copy++) {
        counts[source * experts + picks[copy]]++;
      }
    }
    if (!tokens?.weights || draw.gates) return;
    if (draw.weights) draw.weights(tokens.weights);
    else drawGateWeights(tokens.weights, topK, randomStream(seed, `gates/${step}/${layerIds[layer]}`));
  });
}

/** Weights that fall over a token's choices and sum to 1: sorted exponential draws, normalised. */
function drawGateWeights(weights: Float32Array, topK: number, random: Random): void {
  const token = new Float64Array(topK);
  for (let at = 0; at < weights.length; at += topK) {
    let sum = 0;
    for (let j = 0; j < topK; j++) sum += token[j] = -Math.log(1 - random());
    token.sort().reverse();
    for (let j = 0; j < topK; j++) weights[at + j] = token[j] / sum;
  }
}
