import type { Placement, PlacementMove } from '../../balancing/index.js';
import {
  BlockingMovement,
  expertBytes,
  newLedger,
  type Machine,
  type Runtime,
} from '../../execution/index.js';
import { createNetwork, type Loss } from '../../hardware/index.js';

/** What a recovery from losses moves, of the layers that are simulated. */
export interface MovedLayers {
  /** Seconds by layer. */
  seconds: number[];
  lostExperts: number;
  /** Sums over the layers. */
  bytes: { gpus: number; storage: number };
  staging: number;
}

/** Layer by layer, the placement in force when GPUs are lost, and the one that the policy has on the others. */
export interface Replacement {
  before: readonly Placement[];
  after: readonly Placement[];
  /** Number before of every GPU that is left. */
  carried: readonly number[];
}

/**
 * Simulates how weights come to the GPUs that are left, layer after layer on their network: from one that holds the
 * expert, else from storage.
 */
export function recover(
  machine: Machine,
  runtime: Runtime,
  { before, after, carried }: Replacement,
  losses: readonly Loss[],
): MovedLayers {
  const stored = withStorage(machine, losses);
  const network = createNetwork(stored.cluster, runtime.rates);
  const ledger = newLedger(stored);
  const movement = new BlockingMovement(stored, network, ledger);
  const moved: MovedLayers = { seconds: [], lostExperts: 0, bytes: { gpus: 0, storage: 0 }, staging: 0 };
  after.forEach((placement, layer) => {
    const { move, lostExperts } = missing(before[layer], placement, carried);
    ledger.resetPeaks(0);
    const { seconds, bytes } =
      runtime.residentExperts === 'all' ? { seconds: 0, bytes: 0 } : movement.run(move);
    moved.seconds.push(seconds);
    moved.lostExperts += lostExperts;
    moved.bytes.gpus += bytes;
    if (runtime.residentExperts === 'all') return;
    for (const { source, bits } of move.loads) {
      if (source < 0) moved.bytes.storage += expertBytes(stored, bits);
    }
    for (let gpu = 0; gpu < stored.cluster.gpus; gpu++) {
      moved.staging = Math.max(moved.staging, ledger.peakOf(gpu).bytes);
    }
  });
  return moved;
}

/** The machine whose host link is a disk where weights come from there. */
function withStorage(machine: Machine, losses: readonly Loss[]): Machine {
  const slowest = losses
    .filter(({ weightsFrom }) => weightsFrom === 'disk')
    .reduce((least, { diskBytesPerSecond }) => Math.min(least, diskBytesPerSecond), Infinity);
  if (slowest === Infinity) return machine;
  const { profile } = machine.cluster;
  const hostLink = {
    ...profile.hostLink,
    bytesPerSecond: Math.min(slowest, profile.hostLink.bytesPerSecond),
  };
  return { ...machine, cluster: { ...machine.cluster, profile: { ...profile, hostLink } } };
}

/**
 * What GPUs lack of a placement, given what they held before; slots within a GPU may be in any order. A weight held at
 * more bits is re-quantised in place; one held at fewer is of no use.
 */
function missing(
  before: Placement,
  next: Placement,
  carried: readonly number[],
): { move: PlacementMove; lostExperts: number } {
  const move: PlacementMove = { loads: [], conversions: [] };
  const sent = new Float64Array(next.gpus);
  const holders = Array.from({ length: next.experts }, (): { gpu: number; bits: number }[] => []);
  carried.forEach((old, gpu) => {
    for (let slot = before.firstSlot[old]; slot < before.firstSlot[old + 1]; slot++) {
      holders[before.slotExpert[slot]].push({ gpu, bits: before.slotBits[slot] });
    }
  });
  const used = holders.map((own) => own.map(() => false));
  for (let slot = 0; slot < next.slotExpert.length; slot++) {
    const expert = next.slotExpert[slot];
    const [gpu, bits] = [next.slotGpu[slot], next.slotBits[slot]];
    const own = holders[expert].findIndex(
      (held, i) => held.gpu === gpu && held.bits >= bits && !used[expert][i],
    );
    if (own >= 0) {
      used[expert][own] = true;
      const fromBits = holders[expert][own].bits;
      if (fromBits > bits) move.conversions.push({ expert, gpu, fromBits, toBits: bits });
      continue;
    }
    const able = holders[expert].filter((held) => held.bits >= bits);
    const near = able.some((held) => held.gpu === gpu);
    const source = near ? gpu : leastBusy(able, sent);
    if (source >= 0 && source !== gpu) sent[source]++;
    move.loads.push({ expert, source, destination: gpu, bits });
  }
  return { move, lostExperts: holders.filter((own) => own.length === 0).length };
}

/** The GPU that sends least so far, the first of equals; −1: none. */
function leastBusy(able: readonly { gpu: number }[], sent: Float64Array): number {
  return able.reduce((best, { gpu }) => (best < 0 || sent[gpu] < sent[best] ? gpu : best), -1);
}
