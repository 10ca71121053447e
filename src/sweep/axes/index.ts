import type { Axis, AxisKind } from './axis.js';
import { list } from './list.js';
import { logRange } from './log-range.js';
import { random } from './random.js';
import { range } from './range.js';
import { sobol } from './sobol.js';
import { zip } from './zip.js';

/** All kinds of axes, in the order in which they are listed. */
export const axisKinds = [list, range, logRange, zip, random, sobol] as const;

export type AxisOptions = ReturnType<(typeof axisKinds)[number]['options']['parse']>;

/** @throws RangeError where options don't fit together */
export function createAxis(options: AxisOptions): Axis {
  const found = axisKinds.find(({ kind }) => kind === options.kind);
  return (found as unknown as AxisKind<AxisOptions>).create(options);
}
