import { accountOf, MEMORY_CATEGORIES, PHASES, type Phase } from '../../execution/index.js';
import { PORTS_PER_GPU, stageCost, stageSeconds, stageTerms } from '../../hardware/index.js';
import type { PolicyRun } from '../policy-run.js';
import type { LinkUse, MemorySample, RecordedLayer, RecordedSlice, WeightMove } from './recording.js';

/** The ports of a GPU in the order of `PortLoads`. */
const LINKS = ['NVLink out', 'NVLink in', 'NIC out', 'NIC in'] as const;

/** Relative difference below which two times are one. */
const SAME = 1e-9;

/** Phases that go over a GPU's own copies, those that it sends; the others go over what it computes. */
const OF_SENT: ReadonlySet<Phase> = new Set(['count', 'permute', 'unpermute']);
const OF_COMPUTED: ReadonlySet<Phase> = new Set(['sort', 'experts', 'scale']);

/**
 * Takes down what a policy's last layer did.
 * @param layer as the routing numbers it
 * @param from seconds at which it started in its step
 */
export function recordLayer(run: PolicyRun, layer: number, from: number): RecordedLayer {
  const start = from + run.movementSeconds;
  const { executor } = run.program;
  let last = 0;
  for (const end of executor.end) last = Math.max(last, end);
  const slices = slicesOf(run, start);
  if (run.movementSeconds > 0) {
    for (let gpu = 0; gpu < run.machine.cluster.gpus; gpu++) {
      const facts = moveFacts(run, gpu);
      slices.push({ gpu, stream: 'movement', phase: 'move', start: from, end: start, facts });
    }
  }
  return {
    layer,
    start: from,
    end: start + last,
    slices,
    memory: memoryOf(run, start),
    links: linksOf(run, start),
    moves: movesOf(run, start),
  };
}

/** The head of every GPU after the last layer. @param from seconds at which it starts in its step */
export function recordHead(run: PolicyRun, seconds: Float64Array, from: number): RecordedSlice[] {
  return Array.from(seconds, (own, gpu) => {
    const { tokens, logitRows } = run.whole!.tokensOf(gpu);
    const facts = { tokens, 'rows of logits': logitRows };
    return { gpu, stream: 'compute', phase: 'head', start: from, end: from + own, facts };
  });
}

/** Tasks by stream, and what exchanges wait for. */
function slicesOf(run: PolicyRun, from: number): RecordedSlice[] {
  const { executor, rendezvous } = run.program;
  const { graph, start, end } = executor;
  const slices: RecordedSlice[] = [];
  const onStream: number[] = new Array<number>(graph.streams).fill(0);
  for (let task = 0; task < graph.tasks; task++) {
    const phase = PHASES[graph.labels[task]];
    const arrivals = rendezvous.find((meeting) => meeting.task === task)?.arrivals ?? [];
    const bytes = bytesOf(run, task);
    for (let i = graph.streamFirst[task]; i < graph.streamFirst[task + 1]; i++) {
      const stream = graph.streamsOf[i];
      const gpu = graph.streamOwners[stream];
      if (gpu < 0) continue;
      const at = { gpu, stream: graph.streamNames[stream] || `stream ${stream}` };
      const arrival = arrivals.find((other) => ownerOf(run, other) === gpu);
      if (arrival !== undefined) {
        const ready = Math.max(end[arrival], onStream[stream]);
        if (start[task] > ready) {
          slices.push({
            ...at,
            phase: 'wait',
            start: from + ready,
            end: from + start[task],
            facts: { for: phase },
          });
        }
      }
      onStream[stream] = end[task];
      if (end[task] === start[task]) continue;
      const facts = factsOf(run, phase, gpu, end[task] - start[task], bytes);
      slices.push({ ...at, phase, start: from + start[task], end: from + end[task], facts });
    }
  }
  return slices;
}

/** The GPU whose stream a task is on; −1 where nobody said. */
function ownerOf({ program }: PolicyRun, task: number): number {
  const { graph } = program.executor;
  const first = graph.streamFirst[task];
  return first === graph.streamFirst[task + 1] ? -1 : graph.streamOwners[graph.streamsOf[first]];
}

/** Bytes that a task puts on every port, [port · gpus + gpu]; null for a task without a transfer. */
function bytesOf({ program }: PolicyRun, task: number): Float64Array | null {
  const { graph, fabric } = program.executor;
  const transfer = graph.transferOf[task];
  if (transfer < 0) return null;
  const bytes = new Float64Array(fabric.capacities.length);
  fabric.addBytes(transfer, bytes);
  return bytes;
}

function factsOf(
  run: PolicyRun,
  phase: Phase,
  gpu: number,
  seconds: number,
  bytes: Float64Array | null,
): RecordedSlice['facts'] {
  if (bytes !== null) return transferFacts(run, gpu, seconds, bytes);
  if (phase === 'experts') return expertFacts(run, gpu, seconds);
  if (OF_SENT.has(phase)) return { copies: run.ports.sentBy(gpu) };
  if (OF_COMPUTED.has(phase)) return { copies: run.work.copies[gpu] };
  if (phase === 'plan') return planFacts(run);
  if (phase === 'host') return { 'made of': 'launches and blocking reads, as the runtime states them' };
  return tokenFacts(run, phase, gpu);
}

function planFacts({ plan }: PolicyRun): RecordedSlice['facts'] {
  const { gated, transfers } = plan!;
  return {
    'made of': 'planning and posting transfers, as the runtime states them',
    plan: gated ? 'standard EP, as its gate says' : 'for this batch',
    'weight transfers': transfers?.count ?? 0,
  };
}

/** What of a new placement comes to a GPU before the layer. */
function moveFacts({ plan }: PolicyRun, gpu: number): RecordedSlice['facts'] {
  const { loads, conversions } = plan!.move!;
  return {
    'experts that arrive': loads.filter(({ destination }) => destination === gpu).length,
    'experts that leave': loads.filter(({ source }) => source === gpu).length,
    'experts quantised anew': conversions.filter((conversion) => conversion.gpu === gpu).length,
  };
}

/** What goes over a GPU's own tokens; in scope `model` those of its group where attention is tensor-parallel. */
function tokenFacts(
  { whole, machine: { shape }, tokensBySource }: PolicyRun,
  phase: Phase,
  gpu: number,
): RecordedSlice['facts'] {
  if (whole === null || phase === 'route') return { 'tokens of the batch': tokensBySource[gpu] };
  const { tokens, cached, parts } = whole.tokensOf(gpu);
  const own = { tokens: tokens / parts };
  if (phase === 'attention') return { ...own, 'cached tokens': cached / parts };
  if (phase === 'dense') return { ...own, layers: shape.denseLayers ?? 0 };
  return { ...own, 'shared experts': shape.sharedExperts };
}

/** What a transfer carries for one GPU, and how much of its time its busiest link needs for the bytes alone. */
function transferFacts(
  { machine, program }: PolicyRun,
  gpu: number,
  seconds: number,
  bytes: Float64Array,
): RecordedSlice['facts'] {
  const { gpus } = machine.cluster;
  const { capacities } = program.executor.fabric;
  let busiest = 0;
  for (let link = 0; link < bytes.length; link++) busiest = Math.max(busiest, bytes[link] / capacities[link]);
  const facts: Record<string, number> = {};
  for (let port = 0; port < PORTS_PER_GPU; port++) {
    const own = bytes[port * gpus + gpu] ?? 0;
    if (own > 0) facts[`${LINKS[port]}, bytes`] = own;
  }
  return {
    ...facts,
    'bytes of the busiest link, s': busiest,
    'latency and sharing, s': Math.max(0, seconds - busiest),
  };
}

/** Rows and experts of a GPU, and the terms of the kernel's form where they make the time. */
function expertFacts(
  { machine, program, work, plan }: PolicyRun,
  gpu: number,
  seconds: number,
): RecordedSlice['facts'] {
  const { gpus } = machine.cluster;
  const [rows, rounded, active] = [work.rowsOn(gpu), work.roundedRowsOn(gpu), work.activeOn(gpu)];
  const counted = {
    copies: work.copies[gpu],
    rows,
    'rows in whole tiles': rounded,
    'active experts': active,
  };
  const cost = stageCost(program.kernel.stage, machine.shape, machine.shape.experts / gpus);
  const { firstSlot } = plan!.placement;
  const slots = firstSlot[gpu + 1] - firstSlot[gpu];
  const whole = stageSeconds(cost, rounded, active, rows, slots);
  // Several precisions are as many products, and a runtime may split the stage.
  if (Math.abs(whole - seconds) > SAME * seconds) return counted;
  const { launch, product, weights, activations, factor } = stageTerms(cost, rounded, active, rows, slots);
  return {
    ...counted,
    'launch, s': launch,
    'product, s': product,
    'reading weights, s': weights,
    'activations, s': activations,
    'factor measured for the shape': factor,
  };
}

/** Bytes in use by category after every change, as the run made them, and what is most in use at every moment. */
function memoryOf({ machine, ledger, program }: PolicyRun, from: number): MemorySample[] {
  const { graph, start, end, startRound, endRound, bufferBytes } = program.executor;
  const categories = MEMORY_CATEGORIES.length;
  const freed = new Int32Array(graph.buffers).fill(-1);
  /** Starts of a round come before its ends. */
  const changes: { time: number; order: number; account: number; bytes: number }[] = [];
  for (let task = 0; task < graph.tasks; task++) {
    for (const [first, list] of [
      [graph.freeFirst, graph.frees],
      [graph.readFirst, graph.reads],
    ] as const) {
      for (let i = first[task]; i < first[task + 1]; i++) {
        const last = freed[list[i]];
        if (last < 0 || endRound[task] >= endRound[last]) freed[list[i]] = task;
      }
    }
    for (let i = graph.allocationFirst[task]; i < graph.allocationFirst[task + 1]; i++) {
      const buffer = graph.allocations[i];
      const order = 2 * startRound[task];
      changes.push({ time: start[task], order, account: graph.accounts[buffer], bytes: bufferBytes[buffer] });
    }
  }
  for (let buffer = 0; buffer < graph.buffers; buffer++) {
    const task = freed[buffer];
    if (task < 0) continue;
    const order = 2 * endRound[task] + 1;
    changes.push({ time: end[task], order, account: graph.accounts[buffer], bytes: -bufferBytes[buffer] });
  }
  changes.sort((a, b) => a.order - b.order);
  const samples: MemorySample[] = [];
  for (let gpu = 0; gpu < machine.cluster.gpus; gpu++) {
    // After a layer nothing is in use but what is resident.
    const bytes = MEMORY_CATEGORIES.map((category) => ledger.usedBy(accountOf(gpu, category)));
    samples.push({ gpu, time: from, bytes: [...bytes] });
    let rose = false;
    for (const { time, account, bytes: change } of changes) {
      if (Math.floor(account / categories) !== gpu || change === 0) continue;
      bytes[account % categories] += change;
      const before = samples[samples.length - 1];
      // Of one moment all that stays is where use rose to before it fell, and what is left.
      const same = before.time === from + time && !(rose && change < 0);
      if (same) before.bytes = [...bytes];
      else samples.push({ gpu, time: from + time, bytes: [...bytes] });
      rose = change > 0;
    }
  }
  return samples;
}

function linksOf(run: PolicyRun, from: number): LinkUse[] {
  const { gpus } = run.machine.cluster;
  const { graph, start, end } = run.program.executor;
  const uses: LinkUse[] = [];
  for (let task = 0; task < graph.tasks; task++) {
    const bytes = bytesOf(run, task);
    if (bytes === null || end[task] === start[task]) continue;
    bytes.forEach((amount, link) => {
      if (amount === 0) return;
      const at = { gpu: link % gpus, link: LINKS[Math.floor(link / gpus)] };
      uses.push({ ...at, start: from + start[task], end: from + end[task], bytes: amount });
    });
  }
  return uses;
}

/** Weights within the step, each with the transfer to its GPU. */
function movesOf(run: PolicyRun, from: number): WeightMove[] {
  const { plan, program } = run;
  const transfers = plan!.transfers;
  if (transfers === null) return [];
  const { graph, start, end } = program.executor;
  const label = PHASES.indexOf('weights');
  const taskTo = new Map<number, number>();
  for (let task = 0; task < graph.tasks; task++) {
    if (graph.labels[task] !== label || graph.transferOf[task] < 0) continue;
    taskTo.set(ownerOf(run, task), task);
  }
  const moves = new Map<string, WeightMove>();
  for (let i = 0; i < transfers.count; i++) {
    const [expert, source, destination] = [
      transfers.expert[i],
      transfers.source[i],
      transfers.destination[i],
    ];
    const task = taskTo.get(destination);
    if (task === undefined || end[task] === start[task]) continue;
    moves.set(`${expert} ${destination}`, {
      expert,
      source,
      destination,
      start: from + start[task],
      end: from + end[task],
    });
  }
  return [...moves.values()];
}
