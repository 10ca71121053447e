import { randomStream, uniformDraw } from '../routing/index.js';

/** How unequal loads are. */
export interface Skew {
  /** γ: the largest load over the mean. */
  maxOverMean: number;
  /** Standard deviation (of the population) over the mean. */
  coefficientOfVariation: number;
}

/** 1 and 0 without load. */
export function skewOf(loads: ArrayLike<number>, into: Skew): Skew {
  let total = 0;
  let largest = 0;
  let squares = 0;
  for (let i = 0; i < loads.length; i++) {
    const load = loads[i];
    total += load;
    squares += load * load;
    if (load > largest) largest = load;
  }
  return skewFrom(total, largest, squares, loads.length, into);
}

/** The same from sums, over `units` loads. */
export function skewFrom(total: number, largest: number, squares: number, units: number, into: Skew): Skew {
  const mean = total / units;
  into.maxOverMean = total === 0 ? 1 : largest / mean;
  into.coefficientOfVariation = total === 0 ? 0 : Math.sqrt(Math.max(0, squares / units / (mean * mean) - 1));
  return into;
}

const FLOOR_DRAWS = 200;

/** What has been asked for before: the same few sizes come again and again in a sweep. */
const knownFloors = new Map<string, number>();
const MOST_KNOWN_FLOORS = 1000;

/**
 * γ that a perfectly uniform router shows on average at this batch size: what balancers that place experts
 * ahead, one instance each, rarely beat. Mean of 200 seeded draws.
 *
 * @param units experts are counted in this many equal contiguous groups (GPUs), or one by one
 */
export function floorOfSkew(tokens: number, topK: number, experts: number, units: number): number {
  const key = `${tokens}/${topK}/${experts}/${units}`;
  let floor = knownFloors.get(key);
  if (floor === undefined) {
    if (knownFloors.size === MOST_KNOWN_FLOORS) knownFloors.clear();
    knownFloors.set(key, (floor = drawFloor(tokens, topK, experts, units)));
  }
  return floor;
}

function drawFloor(tokens: number, topK: number, experts: number, units: number): number {
  const random = randomStream('floor', `${tokens}/${topK}/${experts}`);
  const uniform = uniformDraw(experts, topK);
  const counts = new Int32Array(experts);
  const loads = new Float64Array(units);
  const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };
  let sum = 0;
  for (let draw = 0; draw < FLOOR_DRAWS; draw++) {
    uniform.draw(tokens, random, counts);
    loads.fill(0);
    for (let e = 0; e < experts; e++) loads[Math.floor((e * units) / experts)] += counts[e];
    sum += skewOf(loads, skew).maxOverMean;
  }
  return sum / FLOOR_DRAWS;
}
