import { quantileSorted } from 'd3-array';
import type { LayerBalance } from './layer-balance.js';

/** A way to say in one number how even the loads of a step are. */
export interface BalanceMetric {
  /** Its key in JSON and CSV. */
  key: string;
  /** What a table calls it. */
  name: string;
  /** How it is computed, x being the loads of the units of one layer. */
  formula: string;
  /** Its value where all loads are equal. */
  even: number;
  /** Who prints or uses it, under which name, of which unit; null: nobody known. */
  usedBy: string | null;
  /** Says of a layer alone what no other metric does. */
  ofLayers: boolean;
  /** @param layers the loads of every layer of one step, or of one window; at least one layer */
  of: (layers: readonly LayerBalance[]) => number;
}

/** SGLang's, so that a layer without load reads 1. */
const SGLANG_EPSILON = 1e-5;

const meanOver = (layers: readonly LayerBalance[], of: (layer: LayerBalance) => number) =>
  layers.reduce((sum, layer) => sum + of(layer), 0) / layers.length;

/** Of the layers' mean/max. */
function quantileOver(layers: readonly LayerBalance[], share: number): number {
  const sorted = layers.map(({ balancedness }) => balancedness).sort((a, b) => a - b);
  return quantileSorted(sorted, share)!;
}

/** 1 for layers without any load. */
function sumOfMeansOverSumOfMaxima(layers: readonly LayerBalance[]): number {
  const largest = meanOver(layers, (layer) => layer.largest);
  return largest === 0 ? 1 : meanOver(layers, (layer) => layer.mean) / largest;
}

/**
 * Every definition of balance that engines and papers print, in the order in which they are shown. Means over layers
 * give every layer the same weight; ratios of sums give busy layers more, as their time does. A layer without load
 * counts as even.
 */
export const balanceMetrics: readonly BalanceMetric[] = [
  {
    key: 'maxOverMean',
    name: 'max/mean (γ)',
    formula: 'mean over layers of max(x)/mean(x)',
    even: 1,
    usedBy: 'vllm-ascend "Expert hotness imbalance … mean" and UltraEP (GPUs)',
    ofLayers: true,
    of: (layers) => meanOver(layers, ({ maxOverMean }) => maxOverMean),
  },
  {
    key: 'worstMaxOverMean',
    name: 'max/mean, worst layer',
    formula: 'max over layers of max(x)/mean(x)',
    even: 1,
    usedBy: 'vllm-ascend "Expert hotness imbalance … max" (GPUs)',
    ofLayers: false,
    of: (layers) => Math.max(...layers.map(({ maxOverMean }) => maxOverMean)),
  },
  {
    key: 'imbalanceRatio',
    name: 'imbalance ratio',
    formula: 'mean over layers of (max(x) − mean(x))/mean(x)',
    even: 0,
    usedBy: 'TensorRT-LLM "imbalance ratio" (GPUs); MaxVio of a batch (experts)',
    ofLayers: false,
    of: (layers) => meanOver(layers, ({ maxVioGlobal }) => maxVioGlobal),
  },
  {
    key: 'sglangBalancedness',
    name: 'balancedness, SGLang',
    formula: 'mean over layers of (mean(x) + 1e-5)/(max(x) + 1e-5)',
    even: 1,
    usedBy: 'SGLang "current_pass_balancedness", utilization rate (GPUs)',
    ofLayers: true,
    of: (layers) =>
      meanOver(layers, ({ mean, largest }) => (mean + SGLANG_EPSILON) / (largest + SGLANG_EPSILON)),
  },
  {
    key: 'vllmBalancedness',
    name: 'balancedness, vLLM log',
    formula: 'Σ over layers of mean(x) / Σ over layers of max(x)',
    even: 1,
    usedBy: 'vLLM "EPLB step: avg_tokens, max_tokens, balancedness" (GPUs)',
    ofLayers: false,
    of: sumOfMeansOverSumOfMaxima,
  },
  {
    key: 'vllmBalancednessMin',
    name: 'balancedness, vLLM min',
    formula: 'min over layers of mean(x)/max(x)',
    even: 1,
    usedBy: 'vLLM vllm:eplb_balancedness_min (GPUs)',
    ofLayers: false,
    of: (layers) => quantileOver(layers, 0),
  },
  {
    key: 'vllmBalancednessP50',
    name: 'balancedness, vLLM p50',
    formula: 'median over layers of mean(x)/max(x)',
    even: 1,
    usedBy: 'vLLM vllm:eplb_balancedness_p50 (GPUs)',
    ofLayers: false,
    of: (layers) => quantileOver(layers, 0.5),
  },
  {
    key: 'vllmBalancednessP90',
    name: 'balancedness, vLLM p90',
    formula: '10th percentile over layers of mean(x)/max(x): 90 % of them are at least as good',
    even: 1,
    usedBy: 'vLLM vllm:eplb_balancedness_p90 (GPUs)',
    ofLayers: false,
    of: (layers) => quantileOver(layers, 0.1),
  },
  {
    key: 'vllmBalancednessAvg',
    name: 'balancedness, vLLM avg',
    formula: 'mean over layers of mean(x)/max(x)',
    even: 1,
    usedBy: 'vLLM vllm:eplb_balancedness_avg (GPUs)',
    ofLayers: true,
    of: (layers) => meanOver(layers, ({ balancedness }) => balancedness),
  },
  {
    key: 'wastedShare',
    name: 'wasted share',
    formula: '1 − Σ over layers of mean(x) / Σ over layers of max(x)',
    even: 0,
    usedBy: null,
    ofLayers: false,
    of: (layers) => 1 - sumOfMeansOverSumOfMaxima(layers),
  },
  {
    key: 'minOverMax',
    name: 'min/max',
    formula: 'mean over layers of min(x)/max(x)',
    even: 1,
    usedBy: 'the llm-d/vLLM benchmark runbook, as "balancedness" (experts)',
    ofLayers: true,
    of: (layers) => meanOver(layers, ({ smallest, largest }) => (largest === 0 ? 1 : smallest / largest)),
  },
  {
    key: 'coefficientOfVariation',
    name: 'coefficient of variation',
    formula: 'mean over layers of sd(x)/mean(x), sd of the population',
    even: 0,
    usedBy: 'papers; its square is the classic importance loss',
    ofLayers: true,
    of: (layers) => meanOver(layers, ({ coefficientOfVariation }) => coefficientOfVariation),
  },
  {
    key: 'gini',
    name: 'Gini',
    formula: 'mean over layers of Σᵢ Σⱼ |xᵢ − xⱼ| / (2 m² mean(x)), m units',
    even: 0,
    usedBy: 'DODOCO (experts)',
    ofLayers: true,
    of: (layers) => meanOver(layers, ({ gini }) => gini),
  },
  {
    key: 'entropy',
    name: 'normalised entropy',
    formula: 'mean over layers of −Σ p ln p / ln m, p = x/Σx',
    even: 1,
    usedBy: 'routing analyses (experts)',
    ofLayers: true,
    of: (layers) => meanOver(layers, ({ entropy }) => entropy),
  },
  {
    key: 'klToUniform',
    name: 'KL to uniform',
    formula: 'mean over layers of ln m + Σ p ln p, in nats',
    even: 0,
    usedBy: 'papers (experts)',
    ofLayers: false,
    of: (layers) => meanOver(layers, ({ entropy, units }) => (1 - entropy) * Math.log(units)),
  },
];
