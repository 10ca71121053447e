import { z } from 'zod';
import { bitsOf, expertWeights } from '../../hardware/index.js';
import { Executor, TaskGraphBuilder } from '../../engine/index.js';
import { BackgroundMovement } from '../background-movement.js';
import { LeadingWork } from '../leading-work.js';
import { combineBytes, dispatchBytes, ExpertTimer, type Machine } from '../machine.js';
import { accountOf, expertBytes } from '../memory.js';
import { labelOf } from '../phases.js';
import type { LayerInput, LayerProgram, ProgramContext, RuntimeDefinition } from '../runtime.js';
import { WeightMessages } from '../weight-messages.js';

const options = z.strictObject({ preset: z.literal('ideal') });

/**
 * No overheads: no launches, no host, no count exchange, no planning, no permuting. What remains is the
 * dispatch, the expert kernels and the combine; borrowed weights travel beside the dispatch. It answers what
 * a balancer could gain if its implementation were free.
 */
export const ideal: RuntimeDefinition<z.infer<typeof options>, z.input<typeof options>> = {
  name: 'ideal',
  summary: 'no overheads: dispatch, experts and combine only; planning is free',
  stack: 'serving',
  options,
  create: (_, machine) => ({
    name: 'ideal',
    residentExperts: 'home',
    buffers: 'dynamic',
    dispatchBytes: dispatchBytes(machine),
    combineBytes: combineBytes(machine),
    hostAccuracy: { range: [1, 1], basis: 'assumed' },
    notes: () => [],
    program: (context) => idealProgram(machine, context),
  }),
};

function idealProgram(machine: Machine, { network, ledger, traits, leads }: ProgramContext): LayerProgram {
  const { gpus } = machine.cluster;
  const { experts, hiddenSize, expertHiddenSize, activationDtype } = machine.shape;
  const graph = new TaskGraphBuilder();
  const each = <T>(make: (gpu: number) => T) => Array.from({ length: gpus }, (_, gpu) => make(gpu));

  const compute = each((gpu) => graph.addStream(gpu, 'compute'));
  const exchange = each((gpu) => graph.addStream(gpu, 'network'));
  const activations = each((gpu) => graph.addBuffer(accountOf(gpu, 'activations')));
  const received = each((gpu) => graph.addBuffer(accountOf(gpu, 'dispatchBuffers')));
  const intermediates = each((gpu) => graph.addBuffer(accountOf(gpu, 'intermediates')));
  const computed = each((gpu) => graph.addBuffer(accountOf(gpu, 'combineBuffers')));
  const returned = each((gpu) => graph.addBuffer(accountOf(gpu, 'combineBuffers')));

  const leading = new LeadingWork(graph, compute, leads);
  const dispatchTransfer = network.declareExchange();
  const combineTransfer = network.declareExchange();
  const dispatch = graph.addTask({
    streams: exchange,
    after: leading.tasks,
    transfer: dispatchTransfer,
    allocates: [...activations, ...received],
    label: labelOf('dispatch'),
  });
  const messages = new WeightMessages(experts + gpus, expertWeights(machine.shape), true);
  const weights = traits.movesWeights
    ? each((gpu) => {
        const borrowed = graph.addBuffer(accountOf(gpu, 'borrowedWeights'));
        const transfer = network.declareMessages(experts + gpus);
        const task = graph.addTask({
          streams: [graph.addStream(gpu, 'weights')],
          after: leading.tasks,
          transfer,
          allocates: [borrowed],
          label: labelOf('weights'),
        });
        return { borrowed, transfer, task };
      })
    : null;
  const stage = each((gpu) =>
    graph.addTask({
      streams: [compute[gpu]],
      after: weights ? [dispatch, weights[gpu].task] : [dispatch],
      allocates: [intermediates[gpu], computed[gpu]],
      reads: [received[gpu], intermediates[gpu], ...(weights ? [weights[gpu].borrowed] : [])],
      label: labelOf('experts'),
    }),
  );
  const combine = graph.addTask({
    streams: exchange,
    after: stage,
    transfer: combineTransfer,
    allocates: returned,
    reads: [...activations, ...computed, ...returned],
    label: labelOf('combine'),
  });

  const background = traits.movesInBackground ? new BackgroundMovement(graph, machine, network) : null;
  const executor = new Executor(graph.compile(), network.fabric, ledger);
  const timer = new ExpertTimer(machine, 'fused', ideal.stack);
  const { duration, bufferBytes } = executor;
  const toExpert = dispatchBytes(machine);
  const back = combineBytes(machine);
  // Gate and up projections (2H) and the activated product (H).
  const intermediateBytes = Math.ceil((3 * expertHiddenSize * bitsOf(activationDtype)) / 8);
  // The layer's input and its output, in 16 bits.
  const activationBytes = 2 * hiddenSize * 2;
  const weightBytes = expertBytes(machine, bitsOf(machine.shape.weightDtype));

  return {
    executor,
    rowRounding: timer.cost.rowRounding,
    kernel: timer.kernel,
    compute,
    rendezvous: [
      ...(leads ? [{ task: dispatch, arrivals: leading.tasks, lateBy: 'source' } as const] : []),
      { task: combine, arrivals: stage, lateBy: 'experts' },
    ],
    metadataBytes: 0,
    weightTransfers: () => messages.count,
    weightBytes: () => messages.total + (background?.bytes ?? 0),
    fill({ plan, work, ports, tokensBySource, leading: ahead }: LayerInput): void {
      leading.fill(ahead, duration);
      const sent = { copies: work.send, ports };
      network.setExchange(dispatchTransfer, sent, toExpert, false);
      network.setExchange(combineTransfer, sent, back, true);
      timer.usePlacement(plan.placement);
      background?.fill(plan.background, duration);
      if (weights) {
        messages.take(plan);
        for (let gpu = 0; gpu < gpus; gpu++) {
          network.setMessages(weights[gpu].transfer, messages, gpu);
          bufferBytes[weights[gpu].borrowed] = Math.ceil(work.borrowedWeights[gpu] * weightBytes);
        }
      }
      for (let gpu = 0; gpu < gpus; gpu++) {
        const rows = work.rowsOn(gpu);
        duration[stage[gpu]] = timer.seconds(work, gpu);
        bufferBytes[activations[gpu]] = Math.ceil(tokensBySource[gpu] * activationBytes);
        bufferBytes[received[gpu]] = Math.ceil(rows * toExpert);
        bufferBytes[intermediates[gpu]] = Math.ceil(rows * intermediateBytes);
        bufferBytes[computed[gpu]] = Math.ceil(rows * back);
        bufferBytes[returned[gpu]] = Math.ceil(ports.sentBy(gpu) * back);
      }
    },
  };
}
