/** What a task of a layer does; the labels of its graph. */
export const PHASES = [
  'dense',
  'attention',
  'shared',
  'attention-exchange',
  'route',
  'host',
  'count',
  'exchange-counts',
  'plan',
  'permute',
  'weights',
  'dispatch',
  'sort',
  'experts',
  'scale',
  'combine',
  'unpermute',
  'head',
  'move',
  'replan',
  'activation',
  'data-gradients',
  'weight-gradients',
  'gradients',
  'accumulate',
  'optimizer',
  'pipeline',
] as const;

export type Phase = (typeof PHASES)[number];

/** Label of a phase in a task graph. */
export function labelOf(phase: Phase): number {
  return PHASES.indexOf(phase);
}

/** Whose numbers a phase's time hangs on. */
export const TIME_SOURCES = [
  'experts',
  'copies',
  'network',
  'movement',
  'planning',
  'host',
  'attention and dense',
  'gradients',
] as const;

export type TimeSource = (typeof TIME_SOURCES)[number];

/**
 * Expert kernels; copies and gathers on a GPU, and the router with its top-k; links; new placements, over any link, and
 * planning them; launches, reads and plans of a batch; what of the model is no MoE layer; and products of the backward
 * pass, which no kernel was measured for.
 */
export const SOURCE_OF_PHASE: Readonly<Record<Phase, TimeSource>> = {
  dense: 'attention and dense',
  attention: 'attention and dense',
  shared: 'attention and dense',
  'attention-exchange': 'network',
  route: 'copies',
  host: 'host',
  count: 'copies',
  'exchange-counts': 'network',
  plan: 'host',
  permute: 'copies',
  weights: 'network',
  dispatch: 'network',
  sort: 'copies',
  experts: 'experts',
  scale: 'copies',
  combine: 'network',
  unpermute: 'copies',
  head: 'attention and dense',
  move: 'movement',
  replan: 'planning',
  activation: 'copies',
  'data-gradients': 'gradients',
  'weight-gradients': 'gradients',
  gradients: 'network',
  accumulate: 'copies',
  optimizer: 'copies',
  pipeline: 'network',
};
