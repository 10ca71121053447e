import { contiguous, type PolicySetting } from '../../src/balancing/index.js';

/** What a policy knows of one layer in 16 bits on one node, with nothing to calibrate on, unless `changes` say otherwise. */
export function policySetting(
  gpus: number,
  experts: number,
  changes: Partial<PolicySetting> = {},
): PolicySetting {
  return {
    gpus,
    gpusPerNode: gpus,
    experts,
    layers: 1,
    layerIds: [0],
    moeLayers: 1,
    weightBits: 16,
    placement: contiguous(gpus, experts, 16),
    copiesPerGpu: null,
    hasTokens: false,
    hasGateWeights: false,
    calibration: () => [],
    importance: null,
    placementMaps: new Map(),
    seed: 1,
    ...changes,
  };
}
