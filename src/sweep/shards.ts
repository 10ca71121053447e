/** Points `from` up to (without) `to`: what one task of a cluster computes, and what is packed into one file. */
export interface Shard {
  index: number;
  from: number;
  to: number;
}

/** Shards that a sweep is divided into at most where nobody says how: Slurm's own limit of an array is 1,001. */
const MOST_SHARDS = 1000;
const FEWEST_POINTS = 100;

/** Points of a shard where nobody says how many. */
export function defaultPointsPerShard(points: number): number {
  return Math.max(FEWEST_POINTS, Math.ceil(points / MOST_SHARDS));
}

type Division = { points: number; pointsPerShard: number };

export function shardCount({ points, pointsPerShard }: Division): number {
  return Math.ceil(points / pointsPerShard);
}

export function shardAt({ points, pointsPerShard }: Division, index: number): Shard {
  const from = index * pointsPerShard;
  return { index, from, to: Math.min(points, from + pointsPerShard) };
}

/** Numbers as a job array's expression: [0, 1, 2, 5] → "0-2,5". Ascending. */
export function arrayExpression(indices: Iterable<number>): string {
  const ranges: [number, number][] = [];
  for (const index of indices) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else ranges.push([index, index]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
