import { rowsInMemory } from './token-rows.js';
import type { TokenTrace } from './trace.js';

/** The trace of some of its sequences, in memory; its steps are left out. null without sequences. */
export function selectSequences(
  trace: TokenTrace,
  isWanted: (sequence: number) => boolean,
): TokenTrace | null {
  const { sequenceStarts: starts, sequenceDomains, rows, header, padding, phase } = trace;
  if (starts === null) return null;
  const wanted = Array.from({ length: starts.length - 1 }, (_, i) => i).filter(isWanted);
  const tokens = wanted.reduce((sum, i) => sum + starts[i + 1] - starts[i], 0);
  const perToken = header.layerIds.length * header.topK;
  const picks = header.experts > 256 ? new Uint16Array(tokens * perToken) : new Uint8Array(tokens * perToken);
  const weights = rows.hasWeights ? new Float32Array(tokens * perToken) : null;
  const ownPadding = padding && new Uint8Array(tokens);
  const ownPhase = phase && new Uint8Array(tokens);
  const ownStarts = new Int32Array(wanted.length + 1);
  let at = 0;
  wanted.forEach((sequence, i) => {
    for (let token = starts[sequence]; token < starts[sequence + 1]; token++, at++) {
      const block = rows.block(Math.floor(token / rows.blockTokens));
      const from = (token % rows.blockTokens) * perToken;
      for (let j = 0; j < perToken; j++) picks[at * perToken + j] = block.experts[from + j];
      if (weights) weights.set(block.weights!.subarray(from, from + perToken), at * perToken);
      if (ownPadding) ownPadding[at] = padding[token];
      if (ownPhase) ownPhase[at] = phase[token];
    }
    ownStarts[i + 1] = at;
  });
  return {
    ...trace,
    header: { ...header, gpus: undefined, steps: undefined },
    tokens,
    rows: rowsInMemory(tokens, picks, weights),
    sequenceStarts: ownStarts,
    sequenceDomains: sequenceDomains && Uint16Array.from(wanted, (sequence) => sequenceDomains[sequence]),
    batches: null,
    phase: ownPhase,
    padding: ownPadding,
  };
}
