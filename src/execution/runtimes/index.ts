import type { z } from 'zod';
import type { Machine } from '../machine.js';
import type { Runtime, RuntimeDefinition } from '../runtime.js';
import { allgatherReducescatter } from './allgather-reducescatter.js';
import { deepepLowLatency } from './deepep-low-latency.js';
import { deepepNormal } from './deepep-normal.js';
import { groupwiseAlltoall } from './groupwise-alltoall.js';
import { ideal } from './ideal.js';
import { llepEngineered } from './llep-engineered.js';
import { llepReference } from './llep-reference.js';
import { megatronAlltoall } from './megatron-alltoall.js';

/** All runtimes, in the order in which they are listed. */
export const runtimes = [
  ideal,
  llepReference,
  llepEngineered,
  allgatherReducescatter,
  deepepNormal,
  deepepLowLatency,
  megatronAlltoall,
  groupwiseAlltoall,
] as const;

export type RuntimeOptions = z.output<(typeof runtimes)[number]['options']>;

/** The runtime of parsed options on a machine. */
export function createRuntime(options: RuntimeOptions, machine: Machine): Runtime {
  const definition = runtimes.find(
    ({ name }) => name === options.preset,
  ) as unknown as RuntimeDefinition<RuntimeOptions>;
  return definition.create(options, machine);
}
