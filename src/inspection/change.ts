import { loadStatistics } from '../metrics/index.js';
import { randomStream, shuffle } from '../routing/index.js';
import { correlation, groupLoads, meanOf, medianOf, shareDistance } from './load-statistics.js';
import type { Loads, Observed } from './observe.js';

/** How the load changes over time. */
export interface Drift {
  /** Correlation of the experts' loads in the first and the second half; median over layers. */
  correlation: number;
  /** Share of the load that went to other experts in the second half; mean over layers. */
  distance: number;
  /** The same for the parts in random order: what the recording's length alone explains. */
  chance: { correlation: number; distance: number };
}

/** How the load differs between domains. */
export interface DomainEffect {
  domains: number;
  /** Share of a domain's load that goes to other experts than the whole recording's; mean over domains and layers. */
  distance: number;
  /** The same with the domains' names dealt out at random. */
  chance: number;
  /** γ within a domain at each level (mean over domains of the median over layers), and with names dealt at random. */
  levels: { units: number; within: number; chance: number }[];
}

/** Random orders that chance is estimated by. */
const SHUFFLES = 20;

/** null where there are too few parts to halve, or their order is not known. */
export function driftOf(observed: Observed, unordered: boolean): Drift | null {
  const { loads } = observed.parts;
  if (loads.length < 4 || unordered) return null;
  const order = Int32Array.from(loads.keys());
  const measured = halves(observed, order);
  const random = randomStream('inspect', 'drift');
  const chance = Array.from({ length: SHUFFLES }, () => halves(observed, shuffle(order, random)));
  return {
    ...measured,
    chance: {
      correlation: meanOf(chance.map((one) => one.correlation)),
      distance: meanOf(chance.map((one) => one.distance)),
    },
  };
}

function halves({ parts, layers, experts, total }: Observed, order: Int32Array) {
  const copies = (loads: Loads) => loads.reduce((sum, load) => sum + load, 0);
  const half = copies(total) / 2;
  const [first, second] = [new Float64Array(total.length), new Float64Array(total.length)];
  let done = 0;
  for (const part of order) {
    const loads = parts.loads[part];
    const into = done < half ? first : second;
    for (let i = 0; i < loads.length; i++) into[i] += loads[i];
    done += copies(loads);
  }
  const each = (measure: typeof correlation) =>
    Array.from({ length: layers }, (_, layer) => measure(first, second, layer * experts, experts));
  return { correlation: medianOf(each(correlation)), distance: meanOf(each(shareDistance)) };
}

/** null where domains are not known, or there is only one. */
export function domainEffect(observed: Observed, units: readonly number[]): DomainEffect | null {
  const { domain } = observed.parts;
  const domains = domain === null ? 0 : new Set(domain).size;
  if (domain === null || domains < 2) return null;
  const measured = byDomain(observed, domain, units);
  const random = randomStream('inspect', 'domains');
  const dealt = Int32Array.from(domain);
  const chance = Array.from({ length: SHUFFLES }, () => byDomain(observed, shuffle(dealt, random), units));
  return {
    domains,
    distance: measured.distance,
    chance: meanOf(chance.map(({ distance }) => distance)),
    levels: units.map((count, u) => ({
      units: count,
      within: measured.within[u],
      chance: meanOf(chance.map(({ within }) => within[u])),
    })),
  };
}

function byDomain(
  { parts, layers, experts, total }: Observed,
  domain: ArrayLike<number>,
  units: readonly number[],
) {
  const sums = new Map<number, Loads>();
  parts.loads.forEach((loads, part) => {
    let sum = sums.get(domain[part]);
    if (!sum) sums.set(domain[part], (sum = new Float64Array(total.length)));
    for (let i = 0; i < loads.length; i++) sum[i] += loads[i];
  });
  const everyLayer = Array.from({ length: layers }, (_, layer) => layer * experts);
  const own = [...sums.values()];
  return {
    distance: meanOf(
      own.map((sum) => meanOf(everyLayer.map((at) => shareDistance(sum, total, at, experts)))),
    ),
    within: units.map((count) =>
      meanOf(
        own.map((sum) =>
          medianOf(everyLayer.map((at) => loadStatistics(groupLoads(sum, count, at, experts)).maxOverMean)),
        ),
      ),
    ),
  };
}
