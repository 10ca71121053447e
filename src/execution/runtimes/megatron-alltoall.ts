import { z } from 'zod';
import { Executor } from '../../engine/index.js';
import { expertWeights, type Range } from '../../hardware/index.js';
import { BackgroundMovement } from '../background-movement.js';
import { LeadingWork } from '../leading-work.js';
import { ExpertTimer, type Machine } from '../machine.js';
import type { LayerInput, LayerProgram, ProgramContext, RuntimeDefinition } from '../runtime.js';
import { WeightMessages } from '../weight-messages.js';
import { MegatronForward, MegatronSizes, type MegatronCosts } from './megatron-forward.js';
import { MegatronGraph } from './megatron-graph.js';
import { MegatronStage } from './megatron-stage.js';

const launches = z.int().nonnegative();

const options = z.strictObject({
  preset: z.literal('megatron-alltoall'),
  launchesBeforeSync: launches
    .default(40)
    .describe('Kernels per layer that the host launches before it reads the counts; a first guess.'),
  launchesAfterSync: launches
    .default(30)
    .describe('Kernels per layer that the host launches after it, until the layer ends; a first guess.'),
  backwardLaunches: launches.default(90).describe('Kernels of a layer’s backward pass; a first guess.'),
  planKernelSeconds: z
    .number()
    .nonnegative()
    .default(75e-6)
    .describe(
      'A planner on the GPU, for policies that plan each batch: 67 to 78 µs (UltraEP’s figures, arXiv 2606.04101).',
    ),
  postSecondsPerTransfer: z
    .number()
    .nonnegative()
    .default(10e-6)
    .describe('Host time to post one weight transfer (one fused tensor); a first guess.'),
  delayWeightGradients: z
    .boolean()
    .default(false)
    .describe(
      'Compute the gradients of weights beside the exchange that takes the gradients of inputs home.',
    ),
});

/** Launch counts were read off the source, not timed: half to twice. */
const HOST_RANGE: Range = [0.5, 2];

/**
 * Megatron-LM's all-to-all dispatcher as it trains: eager launches, an all-gather of counts that the host reads,
 * copies in 16 bits over NCCL, each to its own destination, buffers as large as the batch asks for, one grouped
 * product. The only runtime that trains.
 */
export const megatronAlltoall: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'megatron-alltoall',
  summary: 'Megatron-LM’s all-to-all dispatcher: eager, counts read by the host, one copy per choice; trains',
  stack: 'serving',
  options,
  create(costs, machine) {
    const { copyBytes } = new MegatronSizes(machine);
    return {
      name: 'megatron-alltoall',
      residentExperts: 'home',
      buffers: 'dynamic',
      dispatchBytes: copyBytes.dispatch,
      combineBytes: copyBytes.combine,
      hostAccuracy: { range: HOST_RANGE, basis: 'assumed' },
      notes: ({ plansEachBatch }) => [
        'megatron-alltoall: no kernel of Megatron-LM was timed; its grouped product is taken to be that of the profile',
        ...(plansEachBatch
          ? [
              'megatron-alltoall: policies that plan each batch pay a planner on the GPU, which Megatron-LM has not',
            ]
          : []),
      ],
      program: (context) => megatronProgram(costs, machine, context),
      stage: (context, training, layers) => new MegatronStage(costs, machine, context, training, layers),
    };
  },
};

/** The layer without a backward pass: nothing is saved. */
function megatronProgram(costs: MegatronCosts, machine: Machine, context: ProgramContext): LayerProgram {
  const { network, ledger, traits, leads } = context;
  const { gpus } = machine.cluster;
  const graph = new MegatronGraph(gpus);
  const leading = new LeadingWork(graph.builder, graph.compute, leads);
  const forward = new MegatronForward(graph, {
    pass: 'forward',
    machine,
    network,
    traits,
    costs,
    saved: {},
    norm: false,
    fetches: true,
    allocates: [],
  });
  const background = traits.movesInBackground
    ? new BackgroundMovement(graph.builder, machine, network)
    : null;
  const executor = new Executor(graph.builder.compile(), network.fabric, ledger);
  const timer = new ExpertTimer(machine, 'fused', megatronAlltoall.stack);
  const messages = new WeightMessages(machine.shape.experts + gpus, expertWeights(machine.shape), true);
  const rows = new Float64Array(gpus);
  return {
    executor,
    rowRounding: timer.cost.rowRounding,
    kernel: timer.kernel,
    compute: graph.compute,
    rendezvous: forward.rendezvous,
    metadataBytes: forward.metadataBytes,
    weightTransfers: () => messages.count,
    weightBytes: () => messages.total + (background?.bytes ?? 0),
    fill({ plan, work, ports, tokensBySource, leading: ahead }: LayerInput): void {
      leading.fill(ahead, executor.duration);
      timer.usePlacement(plan.placement);
      background?.fill(plan.background, executor.duration);
      messages.take(plan);
      for (let gpu = 0; gpu < gpus; gpu++) rows[gpu] = work.rowsOn(gpu);
      const moved = {
        sent: { copies: work.send, ports },
        messages,
        rows,
        tokens: tokensBySource,
        borrowed: work.borrowed,
      };
      forward.fill(moved, (gpu) => timer.seconds(work, gpu), executor);
    },
  };
}
