export { ASSUMED_RANGES } from './assumed-ranges.js';
export { clusterPresets, clusterSchema, defaultProfile, type Cluster, type ClusterInput } from './cluster.js';
export { attentionSeconds, productSeconds } from './dense-kernels.js';
export type { Fault, Loss } from './faults.js';
export { bitsOf, DTYPES, type Dtype } from './dtype.js';
export {
  expertFlop,
  expertStageCosts,
  expertStageSeconds,
  expertWeights,
  findProfile,
  findStage,
  leastFactor,
  rowSeconds,
  stageAccuracy,
  stageCost,
  stageSeconds,
  stageTerms,
  type ExpertLayout,
  type ExpertShape,
  type ExpertStageCost,
  type StageTerms,
} from './expert-stage.js';
export {
  dataGradientSeconds,
  gradientStageCost,
  weightGradientSeconds,
  type GradientStageCost,
  type StageLoad,
} from './gradient-stage.js';
export {
  exchangeSeconds,
  fasterRates,
  linkRates,
  tokenExchangeOf,
  type ExchangeCost,
  type PortRates,
  type TokenExchange,
} from './exchange-cost.js';
export { gpuPresets, gpuSchema, type Gpu } from './gpu.js';
export { linkSeconds } from './link.js';
export { lookupFactor, stageLookup } from './lookup.js';
export { createNetwork } from './create-network.js';
export type { Exchange, Messages, Network } from './network.js';
export { PortLoads, PORTS_PER_GPU, NIC_IN, NIC_OUT, NVLINK_IN, NVLINK_OUT } from './port-loads.js';
export { portCapacities } from './port-network.js';
export {
  profileSchema,
  shippedProfiles,
  type Accuracy,
  type ExpertStage,
  type Link,
  type Lookup,
  type Profile,
  type Range,
  type TokenExchangeCost,
} from './profile.js';
export { addEightRows, ROWS_AT_ONCE } from './sum-rows.js';
export { simulateFlows, type Flow, type FlowPlatform } from './simulate-flows.js';
