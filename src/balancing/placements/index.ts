import type { z } from 'zod';
import { contiguousSlots } from './contiguous-slots.js';
import { eplbPlacement } from './eplb.js';
import { roundRobin } from './round-robin.js';

/** All placement rules, in the order in which they are listed. To add one, add its file here. */
export const placementRules = [contiguousSlots, roundRobin, eplbPlacement] as const;

export type PlacementOptions = z.output<(typeof placementRules)[number]['options']>;
