import type { Machine } from '../machine.js';
import type { Runtime } from '../runtime.js';
import { partsOf, type ServingCosts } from './serving-costs.js';
import { ServingLayer } from './serving-layer.js';

/** Host and small kernels are first guesses: half to twice. */
const HOST_RANGE: [number, number] = [0.5, 2];

/** What all runtimes of serving engines have in common. */
type ServingRuntime = Pick<
  Runtime,
  'residentExperts' | 'hostAccuracy' | 'computesShared' | 'parts' | 'attentionTensorParallel' | 'program'
>;

/** The part of a runtime that follows from how it runs the layer. */
export function servingRuntime(costs: ServingCosts, machine: Machine): ServingRuntime {
  return {
    residentExperts: 'home',
    hostAccuracy: { range: HOST_RANGE, basis: 'assumed' },
    computesShared: true,
    parts: partsOf(costs.overlap),
    attentionTensorParallel: costs.attentionTensorParallel,
    program: (context) => new ServingLayer(costs, machine, context).program(),
  };
}

/** What a result says of experts that several GPUs share. */
export function slicedNotes(name: string, expertTensorParallel: number): string[] {
  if (expertTensorParallel === 1) return [];
  return [
    `${name}: ${expertTensorParallel} GPUs share each expert; γ of GPUs counts the copies of a GPU's slots, of which it ` +
      'computes a slice, with those of its group',
  ];
}
