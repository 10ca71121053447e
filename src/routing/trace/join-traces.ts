import { rowsInMemory } from './token-rows.js';
import { selectSequences } from './select-sequences.js';
import { TraceError, type Trace, type TokenTrace } from './trace.js';

/** A trace and what messages call it. */
export interface NamedTrace {
  name: string;
  trace: Trace;
}

/**
 * Recordings of one model as one: their sequences, one recording after the other, in memory. Steps and gate weights are
 * left out.
 * @throws TraceError where one has no sequences, or is of another model
 */
export function joinTraces(recordings: readonly NamedTrace[]): TokenTrace {
  const parts = recordings.map(({ name, trace }) => {
    const part = trace.kind === 'tokens' ? selectSequences(trace, () => true) : null;
    if (part === null) {
      throw new TraceError(name, 'no sequences', 'a recording of tokens with sequences, to join with others');
    }
    return part;
  });
  const [{ header }] = parts;
  const { experts, topK, layerIds } = header;
  const shapeOf = (own: TokenTrace['header']) =>
    `${own.experts} experts, top ${own.topK}, layers ${own.layerIds.join(' ')}`;
  parts.forEach((part, i) => {
    if (shapeOf(part.header) !== shapeOf(header)) {
      throw new TraceError(
        recordings[i].name,
        shapeOf(part.header),
        `${shapeOf(header)}, as ${recordings[0].name}`,
      );
    }
  });
  const perToken = layerIds.length * topK;
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
  const picks = experts > 256 ? new Uint16Array(tokens * perToken) : new Uint8Array(tokens * perToken);
  const padding = parts.some((part) => part.padding) ? new Uint8Array(tokens) : null;
  const starts: number[] = [];
  const domains: string[] = [];
  const sequenceDomains: number[] = [];
  let at = 0;
  parts.forEach((part, i) => {
    const { rows, sequenceStarts, header: own } = part;
    // A recording that tells no domains apart is one.
    const names = own.domains ?? [recordings[i].name];
    const numbers = names.map((name) => {
      if (!domains.includes(name)) domains.push(name);
      return domains.indexOf(name);
    });
    for (let token = 0; token < part.tokens; token += rows.blockTokens) {
      const count = Math.min(rows.blockTokens, part.tokens - token);
      const block = rows.block(token / rows.blockTokens).experts.subarray(0, count * perToken);
      picks.set(block, (at + token) * perToken);
    }
    if (padding && part.padding) padding.set(part.padding, at);
    for (let sequence = 0; sequence + 1 < sequenceStarts!.length; sequence++) {
      starts.push(at + sequenceStarts![sequence]);
      sequenceDomains.push(numbers[part.sequenceDomains?.[sequence] ?? 0]);
    }
    at += part.tokens;
  });
  const texts = (get: (own: TokenTrace['header']) => string) => [
    ...new Set(parts.map((part) => get(part.header)).filter((text) => text !== '')),
  ];
  return {
    kind: 'tokens',
    header: {
      ...header,
      model: texts((own) => own.model).join('; '),
      phase: parts.every((part) => part.header.phase === header.phase) ? header.phase : undefined,
      placements: undefined,
      importance: undefined,
      domains,
      source: texts((own) => own.source).join('; '),
      licence: texts((own) => own.licence).join('; '),
      notes: [...new Set(parts.flatMap((part) => part.header.notes))],
    },
    tokens,
    rows: rowsInMemory(tokens, picks, null),
    sequenceStarts: Int32Array.from([...starts, tokens]),
    sequenceDomains: Uint16Array.from(sequenceDomains),
    batches: null,
    phase: null,
    padding,
  };
}
