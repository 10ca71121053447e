import { encodeTokenTrace, randomStream, rowsInMemory } from '../../src/routing/index.js';

/** Sequences of the two topics, and tokens of each. */
const FREQUENT = 54;
const RARE = 10;
const LENGTH = 256;
const EXPERTS = 16;

/**
 * A native trace of two topics whose hot experts are disjoint: half of the copies of the frequent one go to experts 0
 * and 1, half of those of the rare one to experts 8 and 9; each expert of a token once. 16 experts, top 2, one layer.
 */
export function twoTopics(): Uint8Array {
  const draw = randomStream(1, 'two-topics');
  const sequences = FREQUENT + RARE;
  // The rare topic comes again and again, so that both halves of a recording have it.
  const domains = Uint16Array.from({ length: sequences }, (_, i) => (i % 6 === 5 ? 1 : 0));
  const tokens = sequences * LENGTH;
  const picks = new Uint8Array(2 * tokens);
  for (let token = 0; token < tokens; token++) {
    const hot = 8 * domains[Math.floor(token / LENGTH)];
    const first = hot + Math.floor(2 * draw());
    let second = first;
    while (second === first) second = Math.floor(EXPERTS * draw());
    picks.set([first, second], 2 * token);
  }
  return encodeTokenTrace({
    kind: 'tokens',
    header: {
      schema: 'epsim/trace@1',
      kind: 'tokens',
      model: 'two topics',
      experts: EXPERTS,
      topK: 2,
      layerIds: [0],
      domains: ['frequent', 'rare'],
      source: 'drawn',
      licence: '',
      notes: [],
    },
    tokens,
    rows: rowsInMemory(tokens, picks, null),
    sequenceStarts: Int32Array.from({ length: sequences + 1 }, (_, i) => i * LENGTH),
    sequenceDomains: domains,
    batches: null,
    phase: null,
    padding: null,
  });
}

/** A scenario that replays it from `path`. */
export const twoTopicScenario = (path: string) => ({
  name: 'two topics',
  model: { hiddenSize: 2048, expertHiddenSize: 2048, experts: EXPERTS, topK: 2, moeLayers: 1 },
  cluster: { gpu: 'h200', gpus: 4 },
  runtime: 'ideal',
  workload: {
    phase: 'prefill',
    tokensPerGpu: 128,
    routing: { kind: 'trace', path, batching: 'shuffled' },
  },
  policies: ['ep', 'eplb'],
  seed: 1,
});
