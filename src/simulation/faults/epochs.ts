import { contiguous, placementOf, slotsByGpu, type Placement } from '../../balancing/index.js';
import type { Contexts, Machine } from '../../execution/index.js';
import { bitsOf, NIC_OUT, PORTS_PER_GPU, type Cluster, type Fault, type Loss } from '../../hardware/index.js';
import { onSurvivors, type RoutingSource } from '../../routing/index.js';
import { RefusalError } from '../refusal-error.js';

/** Steps between two faults: the machine that is left, and the routing on it. */
export interface Epoch {
  /** What breaks before its first step; none before the first epoch. */
  faults: Fault[];
  /** First step, and the one after the last. */
  from: number;
  until: number;
  machine: Machine;
  source: RoutingSource;
  contexts: Contexts | null;
  /** Where experts are without a policy's doing: those of lost GPUs with the others, the rest where it was. */
  standard: Placement;
  /** Number in the epoch before of every GPU. */
  carried: number[];
  /** Number in the scenario of every GPU, and GPUs of a node there. */
  original: number[];
  originalPerNode: number;
}

/** What a run without faults has. */
export interface Whole {
  machine: Machine;
  source: RoutingSource;
  contexts?: Contexts | null;
}

/**
 * Cuts a run at its faults.
 * @throws RefusalError where a fault can't happen here
 */
export function epochsOf(whole: Whole, faults: readonly Fault[]): Epoch[] {
  const { machine, source } = whole;
  const { gpus } = machine.cluster;
  const everyGpu = Array.from({ length: gpus }, (_, gpu) => gpu);
  const steps = [...new Set(faults.map(({ atStep }) => atStep))].sort((a, b) => a - b);
  const late = faults.findIndex(({ atStep }) => atStep >= source.steps);
  if (late >= 0) {
    throw new RefusalError(
      `cluster.faults[${late}].atStep`,
      `${faults[late].atStep} of ${source.steps} steps`,
      `1 to ${source.steps - 1}`,
    );
  }
  const epochs: Epoch[] = [
    {
      faults: [],
      from: 0,
      until: steps[0],
      machine,
      source,
      contexts: whole.contexts ?? null,
      standard: contiguous(gpus, source.experts, bitsOf(machine.shape.weightDtype)),
      carried: everyGpu,
      original: everyGpu,
      originalPerNode: machine.cluster.gpusPerNode,
    },
  ];
  steps.forEach((from, i) => {
    const last = epochs[i];
    const start: Epoch = { ...last, faults: [], from, until: steps[i + 1] ?? source.steps };
    start.carried = last.original.map((_, gpu) => gpu);
    epochs.push(
      faults.reduce((epoch, fault, at) => (fault.atStep === from ? after(epoch, fault, at) : epoch), start),
    );
  });
  return epochs;
}

function after(epoch: Epoch, fault: Fault, at: number): Epoch {
  const next = fault.kind === 'link' ? withSlowLink(epoch, fault, at) : withLoss(epoch, fault, at);
  return { ...next, faults: [...epoch.faults, fault] };
}

function withSlowLink(epoch: Epoch, fault: Extract<Fault, { kind: 'link' }>, at: number): Epoch {
  const { gpu, node, port, factor } = fault;
  if ((gpu === undefined) === (node === undefined)) {
    throw new RefusalError(
      `cluster.faults[${at}]`,
      gpu === undefined ? 'neither gpu nor node' : 'gpu and node',
      'one of them: the GPU whose ports are slow, or the node',
    );
  }
  const slow =
    gpu === undefined ? gpusOfNode(epoch, node!, at) : [numberOf(epoch, gpu, `cluster.faults[${at}].gpu`)];
  const { cluster } = epoch.machine;
  const { gpus } = cluster;
  const portShares = Float64Array.from(cluster.portShares ?? new Float64Array(PORTS_PER_GPU * gpus).fill(1));
  for (let kind = 0; kind < PORTS_PER_GPU; kind++) {
    if (port !== 'all' && (port === 'nic') !== kind >= NIC_OUT) continue;
    for (const own of slow) portShares[kind * gpus + own] = factor;
  }
  return { ...epoch, machine: { ...epoch.machine, cluster: { ...cluster, portShares } } };
}

function withLoss(epoch: Epoch, fault: Loss, at: number): Epoch {
  const { cluster, shape } = epoch.machine;
  const nodes = cluster.gpus / cluster.gpusPerNode;
  const path = `cluster.faults[${at}].kind`;
  if (fault.kind === 'gpu-lost' && nodes > 1) {
    throw new RefusalError(
      path,
      `gpu-lost in a cluster of ${nodes} nodes, which would then differ in GPUs`,
      'node-lost there, or a cluster of one node',
    );
  }
  const lost =
    fault.kind === 'gpu-lost'
      ? [numberOf(epoch, fault.gpu, `cluster.faults[${at}].gpu`)]
      : gpusOfNode(epoch, fault.node, at);
  const alive = epoch.original.map((_, gpu) => gpu).filter((gpu) => !lost.includes(gpu));
  if (alive.length === 0) {
    throw new RefusalError(path, `${fault.kind} of all ${cluster.gpus} GPUs`, 'a loss that leaves some');
  }
  const { contexts } = epoch;
  return {
    ...epoch,
    machine: { ...epoch.machine, cluster: withoutGpus(cluster, alive) },
    source: onSurvivors(epoch.source, alive, fault.requests),
    contexts: contexts && { ...contexts, kvTokens: keptTokens(contexts.kvTokens, alive, fault) },
    standard: standardWithout(epoch.standard, alive, bitsOf(shape.weightDtype)),
    carried: alive.map((gpu) => epoch.carried[gpu]),
    original: alive.map((gpu) => epoch.original[gpu]),
  };
}

/** Number in an epoch of a GPU as the scenario counts. */
function numberOf({ original }: Epoch, gpu: number, path: string): number {
  const found = original.indexOf(gpu);
  if (found >= 0) return found;
  throw new RefusalError(path, String(gpu), `a GPU that is there then: ${original.join(', ')}`);
}

function gpusOfNode({ original, originalPerNode }: Epoch, node: number, at: number): number[] {
  const nodeOf = (gpu: number) => Math.floor(gpu / originalPerNode);
  const found = [...original.keys()].filter((gpu) => nodeOf(original[gpu]) === node);
  if (found.length > 0) return found;
  const there = [...new Set(original.map(nodeOf))];
  throw new RefusalError(
    `cluster.faults[${at}].node`,
    String(node),
    `a node that is there then: ${there.join(', ')}`,
  );
}

function withoutGpus(cluster: Cluster, alive: readonly number[]): Cluster {
  const { gpus, gpusPerNode, speed, portShares } = cluster;
  return {
    ...cluster,
    gpus: alive.length,
    gpusPerNode: Math.min(gpusPerNode, alive.length),
    speed: speed && alive.map((gpu) => speed[gpu]),
    portShares:
      portShares &&
      Float64Array.from(
        { length: PORTS_PER_GPU * alive.length },
        (_, port) => portShares[Math.floor(port / alive.length) * gpus + alive[port % alive.length]],
      ),
  };
}

/** The KV cache after a loss: that of the lost requests is computed again by the others, or gone. */
function keptTokens(kvTokens: Float64Array, alive: readonly number[], { requests }: Loss): Float64Array {
  const own = Float64Array.from(alive, (gpu) => kvTokens[gpu]);
  if (requests === 'dropped') return own;
  const all = kvTokens.reduce((sum, tokens) => sum + tokens, 0);
  const left = own.reduce((sum, tokens) => sum + tokens, 0);
  return own.map((tokens) => tokens + (all - left) / alive.length);
}

/** Every GPU keeps its experts; those of lost ones go to the GPUs that hold fewest, in turn. */
function standardWithout(standard: Placement, alive: readonly number[], bits: number): Placement {
  const before = slotsByGpu(standard);
  const rows = alive.map((gpu) => [...before[gpu]]);
  const lost = before.filter((_, gpu) => !alive.includes(gpu)).flat();
  for (const expert of lost) {
    rows.reduce((fewest, row) => (row.length < fewest.length ? row : fewest)).push(expert);
  }
  return placementOf(rows, standard.experts, bits);
}
