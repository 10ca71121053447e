import {
  addLoads,
  type Calibration,
  type LayerBatch,
  type RoutingSource,
  type RoutingStep,
  type RoutingStream,
  type TokenTable,
} from '../routing/index.js';

/** The steps of several sources in turn, one of each, as often as it takes. */
export function inTurn(sources: readonly RoutingSource[], steps: number): RoutingSource {
  return {
    ...sources[0],
    steps,
    resample: null,
    start() {
      const streams = sources.map((source) => source.start());
      let step = 0;
      return {
        next() {
          if (step >= steps) return null;
          const i = step % sources.length;
          return { ...nextOf(streams, i, sources), step: step++ };
        },
      };
    },
  };
}

/** The next step of one of the streams, which begins again at its end. */
function nextOf(streams: RoutingStream[], i: number, sources: readonly RoutingSource[]): RoutingStep {
  const step = streams[i].next();
  if (step !== null) return step;
  streams[i] = sources[i].start();
  return streams[i].next()!;
}

/** The steps of one source after those of another. */
export function after(before: RoutingSource, source: RoutingSource): RoutingSource {
  const steps = before.steps + source.steps;
  return {
    ...source,
    steps,
    start() {
      const streams = [before.start(), source.start()];
      let step = 0;
      return {
        next() {
          const next = streams[step < before.steps ? 0 : 1].next();
          return next && { ...next, step: step++ };
        },
      };
    },
  };
}

/** The same steps, with all of other sources' steps to calibrate on. */
export function calibratedOn(source: RoutingSource, sources: readonly RoutingSource[]): RoutingSource {
  let known: Calibration | null = null;
  return { ...source, calibration: () => (known ??= calibrationOf(sources)) };
}

function calibrationOf(sources: readonly RoutingSource[]): Calibration {
  const [{ experts, gpus, layerIds }] = sources;
  const counts = layerIds.map(() => new Int32Array(gpus * experts));
  const tables = layerIds.map((): TokenTable[] => []);
  let tokens = 0;
  for (const source of sources) {
    const stream = source.start();
    for (let step = stream.next(); step !== null; step = stream.next()) {
      tokens += step.tokens;
      for (const { layer, counts: own, tokens: table } of step.layers) {
        for (let i = 0; i < own.length; i++) counts[layer][i] += own[i];
        if (table !== null) tables[layer].push(copyOf(table));
      }
    }
  }
  const layers = counts.map((own, layer): LayerBatch => ({
    layer,
    counts: own,
    tokens: tables[layer].length === 0 ? null : joined(tables[layer]),
  }));
  return {
    loads: counts.map((own) => addLoads(own, experts, new Float64Array(experts))),
    tokens,
    layers,
    label: 'the planning half of every segment',
  };
}

/** Sources reuse their tables. */
function copyOf(table: TokenTable): TokenTable {
  const { experts, source, weights } = table;
  return { ...table, experts: experts.slice(), source: source.slice(), weights: weights && weights.slice() };
}

function joined(tables: readonly TokenTable[]): TokenTable {
  const [{ topK, weights }] = tables;
  const count = tables.reduce((sum, table) => sum + table.count, 0);
  const all: TokenTable = {
    count,
    topK,
    experts: new Uint16Array(count * topK),
    source: new Uint16Array(count),
    weights: weights && new Float32Array(count * topK),
  };
  let at = 0;
  for (const table of tables) {
    all.experts.set(table.experts, at * topK);
    all.source.set(table.source, at);
    if (all.weights !== null && table.weights !== null) all.weights.set(table.weights, at * topK);
    at += table.count;
  }
  return all;
}

/** Copies by layer and expert of all steps of a source, per token. */
export function loadsPerToken(source: RoutingSource): Float64Array[] {
  const loads = source.layerIds.map(() => new Float64Array(source.experts));
  let tokens = 0;
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    tokens += step.tokens;
    for (const { layer, counts } of step.layers) addLoads(counts, source.experts, loads[layer]);
  }
  return loads.map((own) => own.map((copies) => copies / tokens));
}
