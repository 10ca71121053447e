import { z } from 'zod';
import type { Range } from '../../hardware/index.js';
import { combineBytes } from '../machine.js';
import type { RuntimeDefinition } from '../runtime.js';
import { LlepLayer, llepDispatchBytes } from './llep-layer.js';

const seconds = z.number().nonnegative();

/**
 * Constants are fitted to the gpt-oss-120b row, the batch ablation and the λ table of arXiv 2601.17111 (§5,
 * Fig. 4, 6a, 7a) within the ranges given beside them, except where a source is named; code: LeastLoadedEP @
 * 0349746. The same constants hold for every shape.
 */
const options = z.strictObject({
  preset: z.literal('llep-reference'),
  residentExperts: z
    .enum(['all', 'home'])
    .default('all')
    .describe(
      'all: every GPU holds every expert of the layer, as the published benchmark does; home: only its own.',
    ),
  chunked: z
    .enum(['as-published', 'per-expert', 'all'])
    .default('as-published')
    .describe(
      'Intermediates of one expert at a time, or of all copies at once; as-published: all for policies that plan ' +
        'ahead, per expert for those that plan each batch.',
    ),
  hostSeconds: seconds
    .default(2.25e-3)
    .describe(
      'Host time per layer besides planning and the expert loop: some hundred PyTorch operations and collectives ' +
        'at 5 to 30 µs each (range 0.5 to 4 ms).',
    ),
  gateSeconds: seconds
    .default(60e-6)
    .describe('Host time to read the loads and compare them with the threshold; a first guess.'),
  planSeconds: seconds
    .default(2.1e-3)
    .describe(
      'Fixed host time of a plan: its Python, a barrier, a second gather of counts, setting up transfers (range 0 to 3 ms).',
    ),
  planSecondsPerExpert: seconds
    .default(23.7e-6)
    .describe(
      'Host time of a plan per expert: two blocking reads of its count at 8 to 10 µs each, and Python (range 14 to 28 µs).',
    ),
  postSecondsPerTransfer: seconds
    .default(40e-6)
    .describe('Host time to post one weight transfer (four tensors); a first guess.'),
  distinctTransfers: z
    .boolean()
    .default(false)
    .describe(
      'Send a pair (expert, GPU) once even where the plan lists it twice; the official code sends it twice.',
    ),
});

/** Fits to the batch ablation alone and to all figures differ by 6 %; the host of another machine by more. */
const HOST_RANGE: Range = [0.8, 1.25];

/**
 * The LLEP paper's own PyTorch and NCCL implementation. Policies that plan each batch run its LLEP path: counts
 * are all-reduced, the host reads them one by one and plans in Python, weights travel on a communicator of
 * their own beside the dispatch, experts run in a loop. All others run its EP baseline: one exchange of
 * counts, one grouped product.
 */
export const llepReference: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'llep-reference',
  summary: "the LLEP paper's PyTorch and NCCL code: host planner, expert loop, all experts resident",
  stack: 'pytorch',
  options,
  create({ chunked, ...chosen }, machine) {
    const costs = {
      ...chosen,
      planner: 'host',
      layout: 'loop',
      stack: llepReference.stack,
      perExpert: { borrowing: chunked !== 'all', others: chunked === 'per-expert' },
    } as const;
    return {
      name: 'llep-reference',
      residentExperts: chosen.residentExperts,
      buffers: 'dynamic',
      dispatchBytes: llepDispatchBytes(machine),
      combineBytes: combineBytes(machine),
      hostAccuracy: { range: HOST_RANGE, basis: 'fitted' },
      notes: ({ plansEachBatch, movesWeights }) => [
        ...(plansEachBatch && !movesWeights
          ? [
              "llep-reference: policies that plan each batch without moving weights pay LLEP's planner on the host",
            ]
          : []),
        ...(movesWeights
          ? [
              'llep-reference: policies that plan each batch pay a host planner and loop over experts' +
                (chunked === 'as-published'
                  ? ', with the intermediates of one at a time; others run one grouped product, with all of them: '
                  : '; others run one grouped product: ') +
                'such rows differ by more than balancing',
            ]
          : []),
      ],
      program: (context) => new LlepLayer(costs, machine, context).program(),
    };
  },
};
