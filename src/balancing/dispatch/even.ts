import { z } from 'zod';
import { eachReplicated, plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('even') });

/**
 * Every source divides its copies evenly over the instances; what does not divide goes to the instances in turn,
 * one source going on where the one before stopped. What EPLB assumes when it places.
 */
export const even: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'even',
  summary: 'every instance of an expert gets the same share of its copies',
  options,
  start: () => ({
    divide(placement, { counts }, into) {
      const { instance } = placement;
      const { copies, slots } = into;
      let of = -1;
      let turn = 0;
      eachReplicated(placement, counts, into, (expert, source, count, first, last) => {
        if (expert !== of) turn = 0;
        of = expert;
        const instances = last - first;
        const share = Math.floor(count / instances);
        const odd = count - share * instances;
        for (let i = 0; i < instances; i++) {
          const extra = (i - turn + instances) % instances < odd ? 1 : 0;
          copies[source * slots + instance[first + i]] = share + extra;
        }
        turn = (turn + odd) % instances;
      });
    },
  }),
};
