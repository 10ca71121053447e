/**
 * Writes traces/quickstart.parquet: routing of a toy router, made here, not recorded from a language model.
 *
 * Every sequence mixes two of 12 topics; a token's embedding is its topic's centre, plus a part that drifts
 * along the sequence, plus noise. Each layer has a random linear router with a bias per expert; a token goes
 * to the experts with the largest logits, weighted by their softmax. Run after `npm run build`:
 *
 *   node tools/make-quickstart-trace.js
 */
import { writeFileSync } from 'node:fs';
import seedrandom from 'seedrandom';
import { encodeTokenTrace, rowsInMemory } from '../dist/routing/index.js';

const EXPERTS = 32;
const TOP_K = 4;
const LAYERS = 4;
const WIDTH = 32;
const TOPICS = 12;
const SEQUENCES = 80;

const random = seedrandom.alea('quickstart');
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const vector = (scale) => Array.from({ length: WIDTH }, () => scale * normal());

const topics = Array.from({ length: TOPICS }, () => vector(1));
const routers = Array.from({ length: LAYERS }, () =>
  Array.from({ length: EXPERTS }, () => ({ weights: vector(1 / Math.sqrt(WIDTH)), bias: 0.5 * normal() })),
);

/** Experts with the largest logits, and their softmax, rounded to 1/256 so that the file stays small. */
function route(router, embedding) {
  const logits = router.map(({ weights, bias }) =>
    weights.reduce((sum, w, i) => sum + w * embedding[i], bias),
  );
  const best = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, TOP_K);
  const exponentials = best.map((e) => Math.exp(logits[e]));
  const total = exponentials.reduce((sum, x) => sum + x, 0);
  return best.map((expert, j) => ({ expert, weight: Math.round((256 * exponentials[j]) / total) / 256 }));
}

const experts = [];
const weights = [];
const starts = [0];
for (let sequence = 0; sequence < SEQUENCES; sequence++) {
  const pair = [topics[Math.floor(random() * TOPICS)], topics[Math.floor(random() * TOPICS)]];
  const length = 48 + Math.floor(144 * random());
  let drift = vector(0.6);
  for (let token = 0; token < length; token++) {
    drift = drift.map((x) => 0.8 * x + 0.36 * normal());
    const topic = pair[random() < 0.7 ? 0 : 1];
    const embedding = topic.map((x, i) => 0.55 * x + drift[i] + 0.6 * normal());
    for (const router of routers) {
      for (const { expert, weight } of route(router, embedding)) {
        experts.push(expert);
        weights.push(weight);
      }
    }
  }
  starts.push(starts[sequence] + length);
}

const bytes = encodeTokenTrace({
  kind: 'tokens',
  header: {
    schema: 'epsim/trace@1',
    kind: 'tokens',
    model: 'toy router (synthetic)',
    experts: EXPERTS,
    topK: TOP_K,
    layerIds: Array.from({ length: LAYERS }, (_, layer) => layer),
    phase: 'prefill',
    source:
      'epsim, tools/make-quickstart-trace.js: a random linear router over drifting topics; no language model',
    licence: 'the same as epsim',
    notes: ['quickstart trace: routing of a toy router, not of a language model'],
  },
  tokens: starts[SEQUENCES],
  rows: rowsInMemory(starts[SEQUENCES], Uint8Array.from(experts), Float32Array.from(weights)),
  sequenceStarts: Int32Array.from(starts),
  sequenceDomains: null,
  batches: null,
  phase: null,
  padding: null,
});
writeFileSync(new URL('../traces/quickstart.parquet', import.meta.url), bytes);
console.log(`${starts[SEQUENCES]} tokens in ${SEQUENCES} sequences, ${bytes.length} bytes`);
