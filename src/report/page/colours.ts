import { SOURCE_OF_PHASE, type Phase, type TimeSource } from '../../execution/index.js';

/** What a time is spent on, as pictures tell it apart; in the order of legends. */
export const ACTIVITIES = [
  'host and planning',
  'attention and dense',
  'copies on the GPU',
  'expert kernels',
  'exchange',
  'weights',
  'waiting',
] as const;

export type Activity = (typeof ACTIVITIES)[number];

/** Apart for people who see fewer colours (Okabe and Ito, 2008), and on light and dark ground. */
export const ACTIVITY_COLOURS: Readonly<Record<Activity, string>> = {
  'host and planning': '#cc79a7',
  'attention and dense': '#d55e00',
  'copies on the GPU': '#56b4e9',
  'expert kernels': '#0072b2',
  exchange: '#e69f00',
  weights: '#009e73',
  waiting: '#9a9a9a',
};

const ACTIVITY_OF: Readonly<Record<TimeSource, Activity>> = {
  host: 'host and planning',
  planning: 'host and planning',
  'attention and dense': 'attention and dense',
  copies: 'copies on the GPU',
  experts: 'expert kernels',
  gradients: 'expert kernels',
  network: 'exchange',
  movement: 'weights',
};

/** What a phase counts as. */
export function activityOf(phase: Phase | 'wait'): Activity {
  if (phase === 'wait') return 'waiting';
  return phase === 'weights' ? 'weights' : ACTIVITY_OF[SOURCE_OF_PHASE[phase]];
}

/** Colours of things that a picture shows, in the order of their names. */
export const MEMORY_COLOURS: Readonly<Record<string, string>> = {
  weights: '#0072b2',
  replicas: '#009e73',
  borrowedWeights: '#56b4e9',
  staging: '#7f7f7f',
  activations: '#f0e442',
  dispatchBuffers: '#e69f00',
  intermediates: '#d55e00',
  combineBuffers: '#cc79a7',
  communicationBuffers: '#a05195',
  otherWeights: '#1f4e79',
  kvCache: '#b8860b',
};

/** A colour for something that this file does not know. */
export const OTHER_COLOUR = '#999999';
