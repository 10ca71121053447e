import { sequenceSupply, type Batching } from './batching.js';

/**
 * Decode: `tokensPerGpu` live sequences per GPU, one token of each in every step; where a sequence ends,
 * the next recorded one takes its place on the same GPU. All first sequences start at their first token.
 */
export const decodeLockstep: Batching = {
  kind: 'decode-lockstep',
  summary: 'one token from each live sequence',
  *steps(spec) {
    const supply = sequenceSupply(spec);
    const live = spec.gpus * spec.tokensPerGpu;
    const batch = new Int32Array(live);
    const token = new Int32Array(live);
    const end = new Int32Array(live);
    for (;;) {
      for (let i = 0; i < live; i++) {
        if (token[i] === end[i]) {
          const next = supply.next();
          if (next.done) return;
          [token[i], end[i]] = next.value;
        }
        batch[i] = token[i]++;
      }
      yield batch;
    }
  },
};
