import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  createNetwork,
  defaultProfile,
  gpuPresets,
  linkSeconds,
  PortLoads,
  type Cluster,
  type Network,
} from '../../src/hardware/index.js';

function clusterOf(fabric: 'ports' | 'max-min', gpus: number, gpusPerNode: number): Cluster {
  return { gpu: gpuPresets.h100, gpus, gpusPerNode, fabric, profile: defaultProfile(gpuPresets.h100) };
}

/** Seconds of one exchange alone. */
function exchangeSeconds(cluster: Cluster, copies: Float64Array, bytes: number, reversed: boolean): number {
  const network = createNetwork(cluster);
  const transfer = network.declareExchange();
  const ports = new PortLoads(cluster.gpus, cluster.gpusPerNode).count(copies);
  network.setExchange(transfer, { copies, ports }, bytes, reversed);
  network.fabric.begin(transfer, 0);
  return completionOf(network);
}

/** Seconds at which the one transfer that runs is complete. */
function completionOf({ fabric }: Network): number {
  const finished = new Int32Array(fabric.transfers);
  for (;;) {
    const now = fabric.nextCompletion();
    if (fabric.complete(now, finished) > 0) return now;
  }
}

const sizes = fc.constantFrom([2, 2], [4, 4], [4, 2], [8, 4], [8, 8], [6, 2]);

const exchange = sizes.chain(([gpus, gpusPerNode]) =>
  fc.record({
    gpus: fc.constant(gpus),
    gpusPerNode: fc.constant(gpusPerNode),
    copies: fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 5000 })), {
      minLength: gpus * gpus,
      maxLength: gpus * gpus,
    }),
    bytes: fc.constantFrom(1, 4096, 14336),
    reversed: fc.boolean(),
  }),
);

describe('networks', () => {
  test.prop([exchange], { numRuns: 500 })(
    'invariant 3: ports, for one exchange alone, never takes longer than max-min',
    ({ gpus, gpusPerNode, copies, bytes, reversed }) => {
      const matrix = Float64Array.from(copies);
      const ports = exchangeSeconds(clusterOf('ports', gpus, gpusPerNode), matrix, bytes, reversed);
      const maxMin = exchangeSeconds(clusterOf('max-min', gpus, gpusPerNode), matrix, bytes, reversed);
      expect(ports).toBeLessThanOrEqual(maxMin * (1 + 1e-9));
    },
  );

  it.each(['ports', 'max-min'] as const)(
    '%s: a ring with GPUs outside takes the time of the NIC',
    (fabric) => {
      for (const gpusPerNode of [4, 2]) {
        const cluster = clusterOf(fabric, 4, gpusPerNode);
        const network = createNetwork(cluster);
        const transfer = network.declareRings();
        network.setRings(transfer, [0, 1e9, 3e9, 0]);
        network.fabric.begin(transfer, 0);
        expect(completionOf(network)).toBeCloseTo(linkSeconds(cluster.profile.nic, 3e9), 12);
      }
    },
  );

  test.prop([sizes, fc.integer({ min: 1, max: 1e6 })])(
    'ports and max-min agree on a uniform exchange',
    ([gpus, gpusPerNode], copies) => {
      const matrix = new Float64Array(gpus * gpus).fill(copies);
      const ports = exchangeSeconds(clusterOf('ports', gpus, gpusPerNode), matrix, 4096, false);
      const maxMin = exchangeSeconds(clusterOf('max-min', gpus, gpusPerNode), matrix, 4096, false);
      expect(ports / maxMin).toBeCloseTo(1, 9);
    },
  );

  test.prop([fc.array(fc.integer({ min: 0, max: 1e6 }), { minLength: 4, maxLength: 4 })])(
    'ports and max-min agree where one port carries every flow',
    (incoming) => {
      const matrix = new Float64Array(16);
      incoming.forEach((copies, source) => (matrix[source * 4 + 2] = copies));
      const ports = exchangeSeconds(clusterOf('ports', 4, 4), matrix, 4096, false);
      const maxMin = exchangeSeconds(clusterOf('max-min', 4, 4), matrix, 4096, false);
      expect(Math.abs(ports - maxMin)).toBeLessThanOrEqual(1e-9 * maxMin);
    },
  );

  it.each(['ports', 'max-min'] as const)('%s takes by hand what it should: the busiest port', (fabric) => {
    const cluster = clusterOf(fabric, 4, 2);
    const { nvlink, nic } = cluster.profile;
    // GPU 0 sends 1000 copies to its neighbour and 500 to each GPU of the other node.
    const matrix = new Float64Array(16);
    matrix.set([9999, 1000, 500, 500]);
    const seconds = exchangeSeconds(cluster, matrix, 1e4, false);
    const near = 1e7 / nvlink.bytesPerSecond + nvlink.latencySeconds;
    const far = 1e7 / nic.bytesPerSecond + nic.latencySeconds;
    expect(seconds).toBeCloseTo(Math.max(near, far), 12);
  });

  it.each(['ports', 'max-min'] as const)('%s: messages to one GPU share its incoming port', (fabric) => {
    const cluster = clusterOf(fabric, 4, 4);
    const network = createNetwork(cluster);
    const transfer = network.declareMessages(8);
    const messages = {
      count: 4,
      source: [1, 2, 1, 0],
      destination: [0, 0, 3, 0],
      bytes: [3e6, 3e6, 9e9, 5e5],
    };
    network.setMessages(transfer, messages, 0);
    network.fabric.begin(transfer, 0);
    const { bytesPerSecond, latencySeconds, rampSecondsPerRootByte } = cluster.profile.nvlink;
    const finished = new Int32Array(1);
    let now: number;
    do now = network.fabric.nextCompletion();
    while (network.fabric.complete(now, finished) === 0);
    expect(now).toBeCloseTo(
      6e6 / bytesPerSecond + latencySeconds + rampSecondsPerRootByte * Math.sqrt(3e6),
      12,
    );
  });

  test.prop([exchange])(
    'what leaves GPUs arrives: bytes out equal bytes in',
    ({ gpus, gpusPerNode, copies }) => {
      const { units, peers, total } = new PortLoads(gpus, gpusPerNode).count(Float64Array.from(copies));
      const sum = (array: ArrayLike<number>, port: number) =>
        Array.from(array)
          .slice(port * gpus, (port + 1) * gpus)
          .reduce((a, b) => a + b, 0);
      for (const out of [0, 2]) {
        expect(sum(units, out)).toBe(sum(units, out + 1));
        expect(sum(peers, out)).toBe(sum(peers, out + 1));
      }
      const offDiagonal = copies.reduce((a, c, i) => a + (Math.floor(i / gpus) === i % gpus ? 0 : c), 0);
      expect(total).toBe(offDiagonal);
      expect(sum(units, 0) + sum(units, 2)).toBe(offDiagonal);
    },
  );
});
