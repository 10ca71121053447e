import { describe, expect, it } from 'vitest';
import { BlockingMovement, newLedger, type Machine } from '../../src/execution/index.js';
import { createNetwork, defaultProfile, gpuPresets } from '../../src/hardware/index.js';
import { completeShape, shapeSchema } from '../../src/model/index.js';

const gpu = gpuPresets.h100;
const profile = defaultProfile(gpu);
const machine: Machine = {
  cluster: { gpu, gpus: 4, gpusPerNode: 4, fabric: 'ports', profile },
  shape: completeShape(shapeSchema.parse({ hiddenSize: 1000, expertHiddenSize: 1000, experts: 8, topK: 2 })),
};
/** 3 · 1000 · 1000 weights at 16 bits. */
const EXPERT = 6e6;

describe('BlockingMovement', () => {
  const network = createNetwork(machine.cluster);
  const ledger = newLedger(machine);
  const movement = new BlockingMovement(machine, network, ledger);

  it('takes the slowest of links, host memory and re-quantising, and leaves the ledger as it was', () => {
    const { nvlink } = profile;
    const ramp = nvlink.rampSecondsPerRootByte * Math.sqrt(EXPERT / 2);
    const link = EXPERT / 2 / nvlink.bytesPerSecond + nvlink.latencySeconds + ramp;
    const host = EXPERT / profile.hostLink.bytesPerSecond + profile.hostLink.latencySeconds;
    const convert = (EXPERT + EXPERT / 2) / profile.copyBytesPerSecond;
    const replica = { expert: 1, source: 0, destination: 2, bits: 8 };
    expect(movement.run({ loads: [replica], conversions: [] }).seconds).toBeCloseTo(link, 12);
    const conversions = [{ expert: 3, gpu: 1, fromBits: 16, toBits: 8 }];
    expect(movement.run({ loads: [], conversions }).seconds).toBeCloseTo(convert, 12);
    const restored = { expert: 5, source: -1, destination: 2, bits: 16 };
    const all = movement.run({ loads: [replica, restored], conversions });
    expect(all.seconds).toBeCloseTo(Math.max(link, host, convert), 12);
    expect([all.bytes, all.hostBytes]).toEqual([EXPERT / 2, EXPERT]);
    expect([0, 1, 2, 3].map((pool) => ledger.totalOf(pool))).toEqual([0, 0, 0, 0]);
    expect(ledger.peakOf(2).bytes).toBe(EXPERT + EXPERT / 2);
  });

  it('lets replicas from one GPU share its link', () => {
    const loads = [1, 2, 3].map((destination) => ({ expert: destination, source: 0, destination, bits: 16 }));
    const { nvlink } = profile;
    const ramp = nvlink.rampSecondsPerRootByte * Math.sqrt(EXPERT);
    const seconds = (3 * EXPERT) / nvlink.bytesPerSecond + nvlink.latencySeconds + ramp;
    expect(movement.run({ loads, conversions: [] }).seconds).toBeCloseTo(seconds, 12);
  });
});
