import type { z } from 'zod';
import { asynchronous } from './async.js';
import { blocking } from './blocking.js';
import { chunked } from './chunked.js';
import { free } from './free.js';
import { prefetch } from './prefetch.js';

/** All movements, in the order in which they are listed. To add one, add its file here. */
export const movementRules = [blocking, chunked, asynchronous, prefetch, free] as const;

export type MovementOptions = z.output<(typeof movementRules)[number]['options']>;
