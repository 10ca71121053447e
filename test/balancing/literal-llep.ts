/** LLEP's assignment as its description reads (llep.md §2.2, §2.4), helpers sorted anew each time: an oracle. */
export interface LiteralPlan {
  slices: [number, [number, number, number][]][];
  transfers: { expert: number; src: number; dst: number; start: number; end: number }[];
  gpuLoads: number[];
}

export function literalLlep(
  loads: readonly number[],
  gpus: number,
  alpha: number,
  m: number,
  variant: 'code' | 'paper' = 'code',
  near: (home: number, gpu: number) => boolean = () => true,
): LiteralPlan {
  const perGpu = loads.length / gpus;
  const home = (expert: number) => Math.floor(expert / perGpu);
  const total = loads.reduce((sum, load) => sum + load, 0);
  const even = Math.floor(total / gpus);
  const cap =
    variant === 'paper'
      ? Math.max(1, Math.floor((alpha * total) / gpus))
      : Math.max(1, even > 0 ? Math.floor(alpha * even) : total);
  const pending = new Array<number>(gpus).fill(0);
  const assigned = new Array<number>(gpus).fill(0);
  loads.forEach((load, expert) => (pending[home(expert)] += load));
  const plan: LiteralPlan = { slices: [], transfers: [], gpuLoads: assigned };

  const order = [...loads.keys()].filter((e) => loads[e] > 0).sort((a, b) => loads[b] - loads[a] || a - b);
  for (const expert of order) {
    const h = home(expert);
    const load = loads[expert];
    const slices: [number, number, number][] = [];
    plan.slices.push([expert, slices]);
    let offset = 0;
    const give = (gpu: number, count: number) => {
      slices.push([gpu, offset, offset + count]);
      plan.transfers.push({ expert, src: h, dst: gpu, start: offset, end: offset + count });
      assigned[gpu] += count;
      offset += count;
    };
    const helpers = () =>
      [...assigned.keys()]
        .filter((gpu) => gpu !== h && near(h, gpu))
        .map((gpu) => ({
          gpu,
          room: cap - assigned[gpu] - pending[gpu],
          effective: assigned[gpu] + pending[gpu],
        }))
        .sort((a, b) => a.effective - b.effective || a.gpu - b.gpu);
    const stay = () => {
      if (slices.length > 0) slices[0][2] = load;
      else slices.push([h, 0, load]);
      assigned[h] += load - offset;
      offset = load;
    };
    const takes = (rest: number, room: number) => {
      const chunk = Math.min(rest, room);
      return room <= 0 || (chunk < m && rest > chunk) ? 0 : chunk;
    };
    pending[h] -= load;
    const available = cap - assigned[h] - pending[h];
    if (available >= load) {
      slices.push([h, 0, load]);
      assigned[h] += load;
      continue;
    }
    if (available > 0) {
      slices.push([h, 0, available]);
      assigned[h] += available;
      offset = available;
    }
    if (available > 0 || variant === 'paper') {
      while (offset < load) {
        const sorted = helpers();
        if (sorted.length === 0) {
          stay();
          break;
        }
        const willing = sorted.find(({ room }) => takes(load - offset, room) > 0);
        if (willing) give(willing.gpu, takes(load - offset, willing.room));
        else give(sorted[0].gpu, load - offset);
      }
    } else {
      const sorted = helpers();
      if (sorted.length === 0) stay();
      for (const { gpu, room } of sorted) {
        if (offset === load) break;
        const chunk = takes(load - offset, room);
        if (chunk > 0) give(gpu, chunk);
      }
      if (offset < load) give(sorted[0].gpu, load - offset);
    }
  }
  return plan;
}
