/** A plain max-min fair simulation, written for clarity: the oracle for MaxMinFabric. */
export interface PlainFlow {
  links: number[];
  bytes: number;
  join: number;
}

/** Rates of `flows` by progressive filling: raise all alike, freeze those at the first full link, repeat. */
export function maxMinRates(capacities: readonly number[], flows: readonly { links: number[] }[]): number[] {
  const rates = flows.map(() => 0);
  const open = new Set(flows.keys());
  const left = [...capacities];
  while (open.size > 0) {
    let level = Infinity;
    let full = -1;
    capacities.forEach((_, link) => {
      const crossing = [...open].filter((f) => flows[f].links.includes(link)).length;
      if (crossing > 0 && left[link] / crossing < level) {
        level = left[link] / crossing;
        full = link;
      }
    });
    for (const f of [...open].filter((f) => flows[f].links.includes(full))) {
      rates[f] = level;
      open.delete(f);
      for (const link of flows[f].links) left[link] -= level;
    }
  }
  return rates;
}

/** Finish time of every flow. */
export function progressiveFilling(capacities: readonly number[], flows: readonly PlainFlow[]): number[] {
  const finish = flows.map((flow) => (flow.bytes > 0 ? -1 : flow.join));
  const left = flows.map((flow) => flow.bytes);
  let now = 0;
  while (finish.some((time) => time < 0)) {
    const waiting = flows.map((_, f) => f).filter((f) => finish[f] < 0);
    const running = waiting.filter((f) => flows[f].join <= now);
    const rates = maxMinRates(
      capacities,
      running.map((f) => flows[f]),
    );
    const nextJoin = Math.min(...waiting.map((f) => flows[f].join).filter((t) => t > now));
    const nextEnd = Math.min(...running.map((f, i) => now + left[f] / rates[i]));
    const next = Math.min(nextJoin, nextEnd);
    running.forEach((f, i) => {
      left[f] -= rates[i] * (next - now);
      if (left[f] <= 1e-10 * flows[f].bytes) finish[f] = next;
    });
    now = next;
  }
  return finish;
}
