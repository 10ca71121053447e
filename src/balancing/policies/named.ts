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
