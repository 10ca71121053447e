import { z } from 'zod';
import { randomStream } from '../../routing/index.js';
import { MOST_DIMENSIONS, sobolBits, SOBOL_BITS } from '../sobol.js';
import type { AxisKind } from './axis.js';
import { sampledAxis, sampledOptions } from './sampled.js';

const options = z.strictObject({
  kind: z.literal('sobol'),
  ...sampledOptions,
  over: sampledOptions.over.max(MOST_DIMENSIONS),
});

/**
 * Points of a Sobol sequence, shifted digit by digit by the seed, so that no point lies on the corner of the box
 * and other seeds give other points that spread as evenly (a random digital shift).
 */
export const sobol: AxisKind<z.output<typeof options>> = {
  kind: 'sobol',
  summary: 'points that spread evenly: a Sobol sequence, shifted by the seed',
  options,
  create(given) {
    const shifts = given.over.map(
      (_, dimension) => (randomStream(given.seed, `sweep/sobol/${dimension}`)() * 2 ** SOBOL_BITS) >>> 0,
    );
    return sampledAxis(
      given,
      (index, dimension) => ((sobolBits(index, dimension) ^ shifts[dimension]) >>> 0) / 2 ** SOBOL_BITS,
    );
  },
};
