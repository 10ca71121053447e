import { shuffle } from '../random.js';
import type { Batching } from './batching.js';

/** Tokens of all sequences in random order, each used once; with `resample`, round after round. */
export const shuffled: Batching = {
  kind: 'shuffled',
  summary: 'tokens of all sequences in random order',
  *steps({ sequences, gpus, tokensPerGpu, resample, random }) {
    const draw = random();
    const batch = new Int32Array(gpus * tokensPerGpu);
    let filled = 0;
    for (let round = 0; ; round++) {
      const chosen =
        round === 0 ? sequences : sequences.map(() => sequences[Math.floor(draw() * sequences.length)]);
      const pool = new Int32Array(chosen.reduce((sum, [start, end]) => sum + end - start, 0));
      let at = 0;
      for (const [start, end] of chosen) for (let token = start; token < end; token++) pool[at++] = token;
      shuffle(pool, draw);
      for (const token of pool) {
        batch[filled++] = token;
        if (filled === batch.length) {
          yield batch;
          filled = 0;
        }
      }
      if (!resample) return;
    }
  },
};
