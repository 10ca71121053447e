import { contiguous, type PolicySetting } from '../balancing/index.js';
import type { Machine } from '../execution/index.js';
import { bitsOf } from '../hardware/index.js';
import type { Calibration, RoutingSource } from '../routing/index.js';
import type { SimulationSpec } from './simulation-spec.js';

/** The numbers that the model gives the layers of a routing: a layer without experts is in none. */
function layerNumbers(
  { layerIds, countsMoeLayers = false }: RoutingSource,
  { shape: { denseLayers } }: Machine,
): readonly number[] {
  const fromFirstMoe = countsMoeLayers || Math.min(...layerIds) < denseLayers;
  return fromFirstMoe ? layerIds.map((id) => id + denseLayers) : layerIds;
}

/** What policies know. */
export interface PolicySettings {
  /** What all of them know. */
  setting: PolicySetting;
  /** The same for one policy, with the label of the calibration that it asked for first. */
  ofOne: () => { setting: PolicySetting; calibration: () => string | null };
}

/** What policies know, with the calibration drawn once per share. */
export function policySettings({
  source,
  machine,
  seed,
  placementMaps,
  sensitivities,
  solver,
  standard,
}: Pick<
  SimulationSpec,
  'source' | 'machine' | 'seed' | 'placementMaps' | 'sensitivities' | 'solver' | 'standard'
>): PolicySettings {
  const { gpus, gpusPerNode } = machine.cluster;
  const drawn = new Map<number, Calibration>();
  const weightBits = bitsOf(machine.shape.weightDtype);
  const calibrationOf = (share: number) => {
    let calibration = drawn.get(share);
    if (!calibration) drawn.set(share, (calibration = source.calibration(share)));
    return calibration;
  };
  const common = {
    gpus,
    gpusPerNode,
    experts: source.experts,
    layers: source.layerIds.length,
    layerIds: source.layerIds,
    layerNumbers: layerNumbers(source, machine),
    denseLayers: machine.shape.denseLayers,
    moeLayers: machine.shape.moeLayers,
    sharedExperts: machine.shape.sharedExperts,
    weightBits,
    expertBits: machine.precision?.bits ?? null,
    placement: standard ?? contiguous(gpus, source.experts, weightBits),
    copiesPerGpu: source.prunes ? null : source.tokensPerGpu * source.topK,
    hasTokens: source.hasTokens,
    hasGateWeights: source.hasGateWeights,
    hasPhases: source.hasPhases,
    hasPadding: source.hasPadding,
    candidates: source.candidates,
    topK: source.topK,
    importance: source.importance,
    placementMaps: placementMaps ?? new Map(),
    sensitivities,
    solver: solver ?? null,
    seed,
  };
  const settingWith = (of: (share: number) => Calibration): PolicySetting => ({
    ...common,
    calibration: (share) => of(share).loads,
    calibrationLayers: (share) => of(share).layers,
  });
  const ofOne = () => {
    let label: string | null = null;
    const setting = settingWith((share) => {
      const calibration = calibrationOf(share);
      label ??= calibration.label;
      return calibration;
    });
    return { setting, calibration: () => label };
  };
  return { setting: settingWith(calibrationOf), ofOne };
}
