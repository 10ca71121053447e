export { LayerBound } from './bound.js';
export { effectiveSize, variesBetweenSteps } from './effective-size.js';
export { meanInterval, type Interval } from './mean-interval.js';
export { pairedRatio, resampledRatio, type Ratio } from './paired-ratio.js';
export { summariseLatency, type LatencySummary } from './quantiles.js';
export { shareInterval, type ShareInterval } from './share-interval.js';
export { floorOfSkew, skewFrom, skewOf, type Skew } from './skew.js';
export {
  combinedSpread,
  effectSpread,
  intervalAround,
  scaledSpread,
  sharedErrorSpread,
  spreadOf,
  turnedSpread,
  type Spread,
} from './spread.js';
