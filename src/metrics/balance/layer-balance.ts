import { loadStatistics, type LoadStatistics } from '../load-statistics.js';

/** The loads of the units (GPUs, experts) of one layer, as far as balance metrics look at them. */
export interface LayerBalance extends LoadStatistics {
  /** Number of units. */
  units: number;
  mean: number;
  largest: number;
  smallest: number;
}

/** Balance of the loads of one layer. @param loads at least one */
export function layerBalance(loads: Float64Array): LayerBalance {
  let total = 0;
  let largest = 0;
  let smallest = Infinity;
  for (const load of loads) {
    total += load;
    if (load > largest) largest = load;
    if (load < smallest) smallest = load;
  }
  return {
    ...loadStatistics(loads),
    units: loads.length,
    mean: total / loads.length,
    largest,
    smallest,
  };
}
