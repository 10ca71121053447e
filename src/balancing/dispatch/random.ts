import { z } from 'zod';
import { binomial, randomStream } from '../../routing/index.js';
import { drawSeed } from '../policy.js';
import { eachReplicated, plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('random') });

/** Every copy goes to an instance at random: SGLang's `dynamic`, vLLM's first rule. */
export const random: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'random',
  summary: 'an instance at random for every copy',
  options,
  start: () => ({
    divide(placement, view, into) {
      const { instance } = placement;
      const draw = randomStream(drawSeed(view), 'replica');
      eachReplicated(placement, view.counts, into, (_, source, count, first, last) => {
        let left = count;
        for (let i = first; i < last; i++) {
          const share = i === last - 1 ? left : binomial(left, 1 / (last - i), draw);
          into.copies[source * into.slots + instance[i]] = share;
          left -= share;
        }
      });
    },
  }),
};
