import { z } from 'zod';
import { eachReplicated, plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('home') });

/** Every copy at its expert's home; other instances stay idle. */
export const home: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'home',
  summary: 'every copy at the first instance of its expert',
  options,
  start: () => ({
    divide(placement, { counts }, into) {
      const { instance } = placement;
      eachReplicated(placement, counts, into, (_, source, count, first) => {
        into.copies[source * into.slots + instance[first]] = count;
      });
    },
  }),
};
