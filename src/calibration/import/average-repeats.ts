import { mean } from 'd3-array';
import type { PublishedRow } from '../measurements.js';

/**
 * Rows that time the same thing become one with their mean time and their number as repeats; the order of
 * first rows is kept. A row alone keeps the repeats it came with.
 */
export function averageRepeats<R extends PublishedRow>(rows: readonly R[]): R[] {
  const groups = new Map<string, R[]>();
  for (const row of rows) {
    const { seconds: _, ...rest } = row;
    const key = JSON.stringify(rest);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].map((group) => {
    const [first] = group;
    if (group.length === 1) return first;
    const seconds = mean(group, (row) => row.seconds)!;
    return { ...first, seconds, repeats: group.length * (first.repeats ?? 1) };
  });
}
