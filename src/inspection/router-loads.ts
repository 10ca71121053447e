import { TraceError, type TokenTrace } from '../routing/index.js';
import { loadStatistics } from '../metrics/index.js';
import { groupLoads, meanOf } from './load-statistics.js';

/** What a router's training is judged by, from the recorded steps of one layer without the calibration part. */
export interface RouterLoads {
  tokens: number;
  /** γ per expert and per GPU (contiguous experts), of all steps together. */
  gammaExpert: number;
  gammaGpu: number;
  gini: number;
  /** Least over largest load of an expert. */
  minOverMax: number;
  /** (largest − mean) / mean per expert: of all steps together, and the mean over steps. */
  maxVioGlobal: number;
  maxVioBatch: number;
  /** Tokens of a step. */
  batchTokens: number;
  /** Experts that no token chose. */
  dead: number;
  /** Share of all experts that a sequence uses; mean over sequences. */
  expertsPerSequence: number;
  /** Share of the copies whose expert is on the node that the token comes from. */
  localShare: number;
}

/**
 * @param gpusPerNode GPUs of a node; experts are split over GPUs contiguously
 * @throws TraceError where the trace has no steps, sequences or source GPUs, or more than one layer
 */
export function routerLoads(trace: TokenTrace, gpusPerNode: number): RouterLoads {
  const { header, batches, sequenceStarts, rows } = trace;
  const { experts, topK, layerIds, gpus } = header;
  if (batches === null || sequenceStarts === null || gpus === undefined || layerIds.length !== 1) {
    throw new TraceError('', 'a trace of another kind', 'one layer, with steps, source GPUs and sequences');
  }
  const total = new Float64Array(experts);
  const own = new Float64Array(experts);
  const violations: number[] = [];
  let local = 0;
  const perNode = (experts / gpus) * gpusPerNode;
  const { starts, calibrationSteps, source } = batches;
  const first = starts[calibrationSteps];
  for (let step = calibrationSteps; step + 1 < starts.length; step++) {
    own.fill(0);
    for (let token = starts[step]; token < starts[step + 1]; token++) {
      const picks = rows.block(Math.floor(token / rows.blockTokens)).experts;
      const at = (token % rows.blockTokens) * topK;
      const node = Math.floor(source[token] / gpusPerNode);
      for (let j = at; j < at + topK; j++) {
        own[picks[j]]++;
        if (Math.floor(picks[j] / perNode) === node) local++;
      }
    }
    for (let e = 0; e < experts; e++) total[e] += own[e];
    violations.push(loadStatistics(own).maxVioGlobal);
  }
  const tokens = trace.tokens - first;
  const { maxOverMean, gini, maxVioGlobal, dead } = loadStatistics(total);
  return {
    tokens,
    gammaExpert: maxOverMean,
    gammaGpu: loadStatistics(groupLoads(total, gpus)).maxOverMean,
    gini,
    minOverMax: total.reduce((a, b) => Math.min(a, b)) / total.reduce((a, b) => Math.max(a, b)),
    maxVioGlobal,
    maxVioBatch: meanOf(violations),
    batchTokens: Math.round(tokens / violations.length),
    dead,
    expertsPerSequence: expertsPerSequence(trace, sequenceStarts, first),
    localShare: local / (tokens * topK),
  };
}

function expertsPerSequence({ header, rows }: TokenTrace, starts: Int32Array, first: number): number {
  const { experts, topK } = header;
  const lastSeen = new Int32Array(experts).fill(-1);
  let distinct = 0;
  let sequences = 0;
  for (let sequence = 0; sequence + 1 < starts.length; sequence++) {
    if (starts[sequence] < first) continue;
    sequences++;
    for (let token = starts[sequence]; token < starts[sequence + 1]; token++) {
      const picks = rows.block(Math.floor(token / rows.blockTokens)).experts;
      const at = (token % rows.blockTokens) * topK;
      for (let j = at; j < at + topK; j++) {
        if (lastSeen[picks[j]] !== sequence) distinct++;
        lastSeen[picks[j]] = sequence;
      }
    }
  }
  return distinct / sequences / experts;
}
