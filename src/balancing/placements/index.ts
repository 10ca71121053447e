import type { z } from 'zod';
import { affinity } from './affinity.js';
import { balanceBytes } from './balance-bytes.js';
import { contiguousSlots } from './contiguous-slots.js';
import { ascendDefault } from './ascend-default.js';
import { ascendSwift } from './ascend-swift.js';
import { eplbSteps } from './eplb-steps.js';
import { eplbPlacement } from './eplb.js';
import { flashlb } from './flashlb.js';
import { fromFile } from './from-file.js';
import { locality } from './locality.js';
import { spareReplicas } from './spare-replicas.js';
import { tensorrtLlm } from './tensorrt-llm.js';
import { roundRobin } from './round-robin.js';

/** All placement rules, in the order in which they are listed. To add one, add its file here. */
export const placementRules = [
  contiguousSlots,
  roundRobin,
  eplbPlacement,
  eplbSteps,
  tensorrtLlm,
  ascendDefault,
  ascendSwift,
  flashlb,
  spareReplicas,
  affinity,
  balanceBytes,
  locality,
  fromFile,
] as const;

export type PlacementOptions = z.output<(typeof placementRules)[number]['options']>;
