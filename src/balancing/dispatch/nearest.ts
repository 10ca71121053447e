import { z } from 'zod';
import { distanceOf, eachReplicated, plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('nearest') });

/**
 * Every source GPU has one instance of an expert that it sends to: its own, else one of its node, else any; among
 * equally near ones the source's number decides, so that sources spread. Like SGLang's `static`, which draws that
 * assignment once where this one deals it out.
 */
export const nearest: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'nearest',
  summary: 'the instance on the own GPU, else in the own node, else one by the source’s number',
  options,
  start: (_, { gpusPerNode }) => ({
    divide(placement, { counts }, into) {
      const { instance, slotGpu } = placement;
      eachReplicated(placement, counts, into, (_expert, source, count, first, last) => {
        let least = 3;
        let found = 0;
        for (let i = first; i < last; i++) {
          const distance = distanceOf(slotGpu[instance[i]], source, gpusPerNode);
          if (distance < least) {
            least = distance;
            found = 0;
          }
          if (distance === least) found++;
        }
        let turn = source % found;
        for (let i = first; i < last; i++) {
          const slot = instance[i];
          if (distanceOf(slotGpu[slot], source, gpusPerNode) !== least || turn-- > 0) continue;
          into.copies[source * into.slots + slot] = count;
          break;
        }
      });
    },
  }),
};
