import { combination } from './combination.js';

/** Any placement with any dispatch rule. */
export const anyCombination = combination(
  'combination',
  'any placement with any dispatch rule; by default that of ep',
  { placement: 'contiguous', dispatch: 'home', movement: null, history: 'calibration' },
);

/** Experts dealt to the GPUs in turn. */
export const roundRobinEp = combination('round-robin', 'standard EP with experts dealt to the GPUs in turn', {
  placement: 'round-robin',
  dispatch: 'home',
  movement: null,
  history: 'calibration',
});

/** DeepSeek's EPLB, planned offline; EPLB itself leaves history, movement and the choice of replicas to its caller. */
export const eplb = combination(
  'eplb',
  "DeepSeek's EPLB: replicates hot experts and packs instances onto GPUs",
  {
    placement: 'eplb',
    dispatch: 'even',
    movement: null,
    history: 'calibration',
  },
);

/** PROBE (arXiv 2602.00509): replicas for the loads that a predictor sees coming, prefetched one layer ahead. */
export const probe = combination(
  'probe',
  'approximation of PROBE: replicas of experts predicted to be hot, prefetched one layer ahead',
  {
    placement: 'spare-replicas',
    dispatch: 'least-loaded',
    movement: 'prefetch',
    history: 'predicted',
  },
  'a greedy plan in place of its own; its transfers keep clear of the exchanges, these share the links with them',
);
