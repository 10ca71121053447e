import type { LayerPlan } from '../../balancing/index.js';
import type { TokenTable } from '../../routing/index.js';
import type { Machine } from '../machine.js';
import { DestinationsOfCopies } from './destinations-of-copies.js';
import { DistinctDestinations } from './distinct-destinations.js';
import type { Traffic, TrafficFloor, TrafficInput } from './traffic.js';

/**
 * A token is sent once to every GPU of its node that computes one of its copies, and once to every other node that
 * does: over the NICs to the GPU with its source's index there, which hands it on over NVLink, once to every GPU that
 * computes one of its copies (DeepEP's normal kernels). With tokens the numbers are exact for the plan; with counts
 * alone they are expected ones.
 */
export class OncePerGpu implements Traffic {
  readonly received: Float64Array;
  private readonly matrix: Float64Array;
  /** Nodes, and GPUs, that the token at hand goes to: its number where it does. */
  private readonly seenNode: Int32Array;
  private readonly seenGpu: Int32Array;
  private readonly destinations: DestinationsOfCopies;
  private readonly distinct: DistinctDestinations;

  constructor(private readonly machine: Machine) {
    const { gpus, gpusPerNode } = machine.cluster;
    this.received = new Float64Array(gpus);
    this.matrix = new Float64Array(gpus * gpus);
    this.seenNode = new Int32Array(gpus / gpusPerNode);
    this.seenGpu = new Int32Array(gpus);
    this.destinations = new DestinationsOfCopies(gpus);
    this.distinct = new DistinctDestinations(machine.shape);
  }

  messages(input: TrafficInput): Float64Array {
    this.matrix.fill(0);
    this.received.fill(0);
    const { plan, tokens } = input;
    if (tokens === null || plan.uniform || hasPadding(plan)) this.expect(input);
    else this.count(input, tokens);
    return this.matrix;
  }

  private count(input: TrafficInput, tokens: TokenTable): void {
    const { count, topK, source } = tokens;
    const { gpus, gpusPerNode } = this.machine.cluster;
    const { matrix, received, seenNode, seenGpu } = this;
    const gpuOfCopy = this.destinations.of(input, tokens);
    seenNode.fill(-1);
    seenGpu.fill(-1);
    for (let token = 0; token < count; token++) {
      const from = source[token];
      const ownNode = Math.floor(from / gpusPerNode);
      const index = from % gpusPerNode;
      for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
        const gpu = gpuOfCopy[copy];
        if (gpu < 0 || seenGpu[gpu] === token) continue;
        seenGpu[gpu] = token;
        received[gpu]++;
        const node = Math.floor(gpu / gpusPerNode);
        const relay = node * gpusPerNode + index;
        if (node !== ownNode && seenNode[node] !== token) {
          seenNode[node] = token;
          matrix[from * gpus + relay]++;
        }
        if (gpu !== relay) matrix[relay * gpus + gpu]++;
      }
    }
  }

  private expect({ work, base, tokensBySource, plan }: TrafficInput): void {
    const { gpus, gpusPerNode } = this.machine.cluster;
    const { matrix, received, distinct } = this;
    for (let source = 0; source < gpus; source++) {
      const tokens = tokensBySource[source];
      if (tokens === 0) continue;
      const row = source * gpus;
      distinct.prepare(base.counts, source, tokens, plan.uniform);
      for (let node = 0; node < gpus; node += gpusPerNode) {
        const relay = node + (source % gpusPerNode);
        let copies = 0;
        let most = 0;
        let sum = 0;
        for (let gpu = node; gpu < node + gpusPerNode; gpu++) {
          const own = distinct.tokensOf(work.send[row + gpu]);
          copies += work.send[row + gpu];
          most = Math.max(most, own);
          sum += own;
          received[gpu] += own;
          if (gpu !== relay) matrix[relay * gpus + gpu] += own;
        }
        // Not fewer than its fullest GPU gets, nor more than its GPUs together.
        if (relay !== source) matrix[row + relay] += clamp(distinct.tokensOf(copies), most, sum);
      }
    }
  }
}

/** What must cross whatever a plan says: a message stands for at most all copies of a token. */
export function oncePerGpuFloor({ shape }: Machine): TrafficFloor {
  return { fixed: false, copiesPerMessage: shape.topK, relayed: true };
}

/** What a result says where only counts are known. */
export function countedNote({ shape }: Machine): string {
  const groups =
    shape.topGroups < shape.routerGroups
      ? `, for tokens that use ${shape.topGroups} of ${shape.routerGroups} router groups`
      : '';
  return (
    `the routing holds counts without tokens: how many tokens go to each GPU and node is expected from them${groups}; ` +
    'within 5 % of the count over tokens where experts are picked independently'
  );
}

/** Whether empty rows are sent, which are nobody's copies. */
function hasPadding({ drop }: LayerPlan): boolean {
  return drop !== null && drop.sent !== null;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
