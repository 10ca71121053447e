import {
  addLoads,
  generators,
  generatorSource,
  powerLawLoads,
  randomStream,
  type GeneratorOptions,
  type Trace,
} from '../routing/index.js';

/** Experts spread contiguously over GPUs: whose rows the cases are. */
export interface ExpertGroup {
  experts: number;
  topK: number;
  gpus: number;
}

/** Rows of the experts on one GPU, and where they come from. */
export interface GivenCounts {
  counts: number[];
  routing: string;
}

/** Ways to make counts up. `few-active`: all rows on an eighth of the experts, as where a GPU helps another. */
export const ROUTINGS = ['balanced', 'power-law', 'log-normal', 'few-active'] as const;
export type RoutingName = (typeof ROUTINGS)[number];

/** As in the tables of public MoE benchmarks. */
const POWER_LAW_EXPONENT = 1.2;
/** Between the recorded loads of DeepSeek-V3's layers. */
const LOG_NORMAL_SIGMA = 1;
const SEED = 1;

/**
 * Rows of the busiest GPU when every GPU routes so many tokens.
 * Equal arguments give equal counts.
 */
export function drawCounts(routing: RoutingName, group: ExpertGroup, tokensPerGpu: number): GivenCounts {
  const local = group.experts / group.gpus;
  if (routing === 'few-active') {
    const active = Math.max(1, Math.floor(local / 8));
    const rows = tokensPerGpu * group.topK;
    const counts = Array.from({ length: local }, (_, e) => (e < active ? share(rows, active, e) : 0));
    return { counts, routing };
  }
  return { counts: busiestGroup(loadsOf(routing, group, tokensPerGpu), local), routing };
}

/** The e-th of `parts` parts of a whole number, as equal as can be. */
function share(whole: number, parts: number, e: number): number {
  return Math.floor((whole * (e + 1)) / parts) - Math.floor((whole * e) / parts);
}

function loadsOf(
  routing: Exclude<RoutingName, 'few-active'>,
  { experts, topK, gpus }: ExpertGroup,
  tokensPerGpu: number,
): ArrayLike<number> {
  if (routing === 'power-law') {
    const setting = { tokens: gpus * tokensPerGpu, experts, topK, gpus, exponent: POWER_LAW_EXPONENT };
    return powerLawLoads(setting, randomStream(SEED, `measure/${experts}/${gpus}/${tokensPerGpu}`));
  }
  const source = generatorSource({
    options: optionsOf(routing),
    setting: { gpus, experts, topK, routerGroups: 1, topGroups: 1, tokensPerGpu },
    layerIds: [0],
    steps: 1,
    seed: SEED,
  });
  const [{ counts }] = source.start().next()!.layers;
  return addLoads(counts, experts, new Float64Array(experts));
}

function optionsOf(routing: 'balanced' | 'log-normal'): GeneratorOptions {
  const options = routing === 'balanced' ? { kind: routing } : { kind: routing, sigma: LOG_NORMAL_SIGMA };
  return generators.find(({ kind }) => kind === routing)!.options.parse(options);
}

/** Tokens in the windows of a recording. */
const WINDOWS = [64, 1024, 8192];

/**
 * Rows of the busiest GPU in windows of a recording: its first, middle and last layer; tokens from the middle
 * of the recording on, or a recorded step where only counts were recorded.
 */
export function traceCounts(trace: Trace, gpus: number): GivenCounts[] {
  const { layerIds, experts } = trace.header;
  const layers = [...new Set([0, layerIds.length >> 1, layerIds.length - 1])];
  const found = layers.flatMap((layer) =>
    windowsOf(trace, layer).map(({ loads, what }) => ({
      counts: busiestGroup(loads, experts / gpus),
      routing: `trace, layer ${layerIds[layer]}, ${what}`,
    })),
  );
  return found.filter(({ counts }) => counts.some((n) => n > 0));
}

function windowsOf(trace: Trace, layer: number): { loads: Float64Array; what: string }[] {
  const { experts, topK, layerIds } = trace.header;
  if (trace.kind === 'counts') {
    const step = trace.steps.length >> 1;
    const loads = addLoads(trace.steps[step].layers[layer], experts, new Float64Array(experts));
    return [{ loads, what: `step ${step}` }];
  }
  return WINDOWS.filter((size) => size <= trace.tokens).map((size) => {
    const first = (trace.tokens - size) >> 1;
    const loads = new Float64Array(experts);
    for (let token = first; token < first + size; token++) {
      const { blockTokens } = trace.rows;
      const { experts: picks } = trace.rows.block(Math.floor(token / blockTokens));
      const at = ((token % blockTokens) * layerIds.length + layer) * topK;
      for (let j = 0; j < topK; j++) loads[picks[at + j]]++;
    }
    return { loads, what: `tokens ${first} to ${first + size - 1}` };
  });
}

/** Of the contiguous groups of `size` experts, the one with most copies. */
function busiestGroup(loads: ArrayLike<number>, size: number): number[] {
  const groups = Array.from({ length: loads.length / size }, (_, gpu) =>
    Array.from({ length: size }, (_, e) => loads[gpu * size + e]),
  );
  const rows = groups.map((group) => group.reduce((sum, n) => sum + n, 0));
  return groups[rows.indexOf(Math.max(...rows))];
}
