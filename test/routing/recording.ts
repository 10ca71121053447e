import { rowsInMemory, type TokenTrace } from '../../src/routing/index.js';

/** A recording of sequences of these lengths: token t of layer l goes to experts (t + l) mod 8 and (t + l + 1) mod 8. */
export function traceOf(lengths: number[], layers = 2): TokenTrace {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const starts = lengths.reduce((all, length) => [...all, all[all.length - 1] + length], [0]);
  const experts = new Uint8Array(tokens * layers * 2);
  for (let t = 0; t < tokens; t++) {
    for (let l = 0; l < layers; l++) {
      experts[(t * layers + l) * 2] = (t + l) % 8;
      experts[(t * layers + l) * 2 + 1] = (t + l + 1) % 8;
    }
  }
  return {
    kind: 'tokens',
    header: {
      schema: 'epsim/trace@1',
      kind: 'tokens',
      model: 'test',
      experts: 8,
      topK: 2,
      layerIds: Array.from({ length: layers }, (_, l) => l + 3),
      source: '',
      licence: '',
      notes: [],
    },
    tokens,
    rows: rowsInMemory(tokens, experts, null),
    sequenceStarts: Int32Array.from(starts),
    sequenceDomains: null,
    batches: null,
    phase: null,
    padding: null,
  };
}
