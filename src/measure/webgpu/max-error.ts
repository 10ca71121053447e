import type { Gpu } from './gpu.js';
import type { Check } from './plan.js';
import type { Prepared } from './prepare.js';
import { readElements } from './read-elements.js';

/** Numbers that the references of one case read at most, rows beyond the first apart. */
const MAX_COST = 3e7;

/** Rows of one result that are looked at, at most. */
const MAX_ROWS = 4096;

/**
 * Largest error of the results that the last call left, against the float64 reference, relative to the
 * largest number there. All rows of small cases; of others as many as can be afforded, first and last included.
 * @param variant the inputs that the last call used
 */
export async function maxError(gpu: Gpu, prepared: Prepared, variant: number): Promise<number> {
  const inputs = prepared.inputs(variant);
  let worst = 0;
  for (const check of prepared.plan.checks) {
    const { type, elements } = prepared.plan.buffers[check.buffer];
    const rows = checkedRows(Math.ceil(elements / check.columns), check);
    const ranges = rows.map(
      (row) => [row * check.columns, Math.min(elements, (row + 1) * check.columns)] as const,
    );
    const found = await readElements(gpu, prepared.buffer(check.buffer, variant), type, ranges);
    let difference = 0;
    let largest = 0;
    rows.forEach((row, i) => {
      const wanted = check.reference(row, inputs);
      wanted.forEach((value, column) => {
        difference = Math.max(difference, Math.abs(found[i][column] - value));
        largest = Math.max(largest, Math.abs(value));
      });
    });
    worst = Math.max(worst, difference / (largest || 1));
  }
  return worst;
}

/** Rows that are looked at, evenly spread. */
export function checkedRows(rows: number, { costPerRow }: Pick<Check, 'costPerRow'>): number[] {
  const count = Math.min(rows, MAX_ROWS, Math.max(2, Math.floor(MAX_COST / costPerRow)));
  return Array.from({ length: count }, (_, i) =>
    count === 1 ? 0 : Math.round((i * (rows - 1)) / (count - 1)),
  );
}
