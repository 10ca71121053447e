/** How unequal the loads of the units (experts, GPUs) of one layer are. */
export interface LoadStatistics {
  /** γ: the largest load over the mean; 1 is even. */
  maxOverMean: number;
  /** Mean over the largest load, as SGLang and vLLM log it; 1 is even. */
  balancedness: number;
  /** Gini coefficient; 0 is even. */
  gini: number;
  /** Standard deviation (of the population) over the mean; 0 is even. */
  coefficientOfVariation: number;
  /** Entropy of the shares over that of even ones; 1 is even. */
  entropy: number;
  /** (largest − mean) / mean, of all loads taken together; 0 is even. */
  maxVioGlobal: number;
  /** Units without any load. */
  dead: number;
}

export const statisticNames = [
  'maxOverMean',
  'balancedness',
  'gini',
  'coefficientOfVariation',
  'entropy',
  'maxVioGlobal',
  'dead',
] as const satisfies readonly (keyof LoadStatistics)[];

/** Statistics of loads; those of even ones where there is no load at all, all units being dead. */
export function loadStatistics(loads: Float64Array): LoadStatistics {
  const units = loads.length;
  const sorted = loads.slice().sort();
  const total = sorted.reduce((sum, load) => sum + load, 0);
  if (total === 0) {
    const even = { maxOverMean: 1, balancedness: 1, gini: 0, coefficientOfVariation: 0, entropy: 1 };
    return { ...even, maxVioGlobal: 0, dead: units };
  }
  const mean = total / units;
  const largest = sorted[units - 1];
  let ranked = 0;
  let squares = 0;
  let entropy = 0;
  let dead = 0;
  for (let i = 0; i < units; i++) {
    const load = sorted[i];
    ranked += (i + 1) * load;
    squares += load * load;
    if (load === 0) dead++;
    else entropy -= (load / total) * Math.log(load / total);
  }
  return {
    maxOverMean: largest / mean,
    balancedness: mean / largest,
    gini: (2 * ranked) / (units * total) - (units + 1) / units,
    coefficientOfVariation: Math.sqrt(Math.max(0, squares / units / (mean * mean) - 1)),
    entropy: units === 1 ? 1 : entropy / Math.log(units),
    maxVioGlobal: largest / mean - 1,
    dead,
  };
}
