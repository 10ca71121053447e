import { z } from 'zod';
import { eachReplicated, plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('round-robin') });

/**
 * Every source GPU counts its copies of an expert and deals them to the instances in turn, beginning with the one of
 * its own number: TensorRT-LLM's rule without its blocks of 1,024 tokens.
 */
export const roundRobinDispatch: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'round-robin',
  summary: "every source deals an expert's copies to its instances in turn",
  options,
  start: () => ({
    divide(placement, { counts }, into) {
      const { instance } = placement;
      eachReplicated(placement, counts, into, (_, source, count, first, last) => {
        const instances = last - first;
        const share = Math.floor(count / instances);
        const odd = count - share * instances;
        for (let i = 0; i < instances; i++) {
          const extra = (i + instances - (source % instances)) % instances < odd ? 1 : 0;
          into.copies[source * into.slots + instance[first + i]] = share + extra;
        }
      });
    },
  }),
};
