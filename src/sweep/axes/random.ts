import { z } from 'zod';
import { randomStream } from '../../routing/index.js';
import type { AxisKind } from './axis.js';
import { sampledAxis, sampledOptions } from './sampled.js';

const options = z.strictObject({ kind: z.literal('random'), ...sampledOptions });

/** Independent random points. */
export const random: AxisKind<z.output<typeof options>> = {
  kind: 'random',
  summary: 'independent random points',
  options,
  create: (given) =>
    sampledAxis(given, (index, dimension) => randomStream(given.seed, `sweep/${index}/${dimension}`)()),
};
