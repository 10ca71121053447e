import { sequenceSupply, type Batching, type Sequence } from './batching.js';

/**
 * Chunked prefill: every GPU reads whole sequences one after another, and a step takes the next
 * `tokensPerGpu` tokens of each GPU, across the border of sequences where needed.
 */
export const prefillChunks: Batching = {
  kind: 'prefill-chunks',
  summary: 'whole sequences, each staying with its source GPU, cut into chunks',
  *steps(spec) {
    const { gpus, tokensPerGpu } = spec;
    const supply = sequenceSupply(spec);
    const batch = new Int32Array(gpus * tokensPerGpu);
    const current: Sequence[] = Array.from({ length: gpus }, () => [0, 0]);
    for (;;) {
      for (let i = 0; i < batch.length; i++) {
        const gpu = Math.floor(i / tokensPerGpu);
        let [token, end] = current[gpu];
        if (token === end) {
          const next = supply.next();
          if (next.done) return;
          [token, end] = next.value;
        }
        batch[i] = token;
        current[gpu] = [token + 1, end];
      }
      yield batch;
    }
  },
};
