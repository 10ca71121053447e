import type { z } from 'zod';
import { flatPosition, tokenHash } from './by-token.js';
import { even } from './even.js';
import { fewestActive } from './fewest-active.js';
import { home } from './home.js';
import { leastLoaded } from './least-loaded.js';
import { lp, lpSampled } from './lp.js';
import { nearest } from './nearest.js';
import { random } from './random.js';
import { roundRobinDispatch } from './round-robin.js';

/** All dispatch rules over replicas, in the order in which they are listed. To add one, add its file here. */
export const dispatchRules = [
  home,
  even,
  random,
  roundRobinDispatch,
  flatPosition,
  tokenHash,
  nearest,
  leastLoaded,
  lp,
  lpSampled,
  fewestActive,
] as const;

export type DispatchOptions = z.output<(typeof dispatchRules)[number]['options']>;
