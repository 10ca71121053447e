/** Several recordings of one model as one. */
import { describe, expect, it } from 'vitest';
import { joinTraces, rowsInMemory, type TokenTrace } from '../../src/routing/index.js';

function traceOf(picks: number[], starts: number[], more: Partial<TokenTrace> = {}): TokenTrace {
  return {
    kind: 'tokens',
    header: {
      schema: 'epsim/trace@1',
      kind: 'tokens',
      model: 'm',
      experts: 4,
      topK: 1,
      layerIds: [2],
      phase: 'decode',
      source: 'here',
      licence: 'MIT',
      notes: [],
    },
    tokens: picks.length,
    rows: rowsInMemory(picks.length, Uint8Array.from(picks), null),
    sequenceStarts: Int32Array.from([...starts, picks.length]),
    sequenceDomains: null,
    batches: null,
    phase: null,
    padding: null,
    ...more,
  };
}

const first = traceOf([0, 1, 2], [0, 2]);
const second = traceOf([3, 3, 0, 1], [0, 1], { padding: Uint8Array.of(0, 0, 0, 1) });

describe('recordings that are joined', () => {
  it('keep their sequences and padding, one recording after the other; each is a domain unless it names its own', () => {
    const joined = joinTraces([
      { name: 'a', trace: first },
      { name: 'b', trace: second },
    ]);
    expect([...joined.rows.block(0).experts.subarray(0, 7)]).toEqual([0, 1, 2, 3, 3, 0, 1]);
    expect([...joined.sequenceStarts!]).toEqual([0, 2, 3, 4, 7]);
    expect(joined.header.domains).toEqual(['a', 'b']);
    expect([...joined.sequenceDomains!]).toEqual([0, 0, 1, 1]);
    expect([...joined.padding!]).toEqual([0, 0, 0, 0, 0, 0, 1]);
    expect(joined.header).toMatchObject({ phase: 'decode', source: 'here', licence: 'MIT' });
  });

  it('share the domains that they name alike', () => {
    const named = (domains: string[], sequenceDomains: number[]) => ({
      ...first,
      header: { ...first.header, domains },
      sequenceDomains: Uint16Array.from(sequenceDomains),
    });
    const joined = joinTraces([
      { name: 'a', trace: named(['law', 'code'], [0, 1]) },
      { name: 'b', trace: named(['code', 'art'], [1, 0]) },
    ]);
    expect(joined.header.domains).toEqual(['law', 'code', 'art']);
    expect([...joined.sequenceDomains!]).toEqual([0, 1, 2, 1]);
  });

  it('of different phases have none', () => {
    const other = { ...second, header: { ...second.header, phase: 'prefill' as const } };
    const joined = joinTraces([
      { name: 'a', trace: first },
      { name: 'b', trace: other },
    ]);
    expect(joined.header.phase).toBeUndefined();
  });

  it('must be of one model, and have sequences', () => {
    const other = { ...second, header: { ...second.header, experts: 8 } };
    const join = (trace: TokenTrace) => () =>
      joinTraces([
        { name: 'a', trace: first },
        { name: 'b', trace },
      ]);
    expect(join(other)).toThrow(
      'b: found 8 experts, top 1, layers 2, allowed: 4 experts, top 1, layers 2, as a',
    );
    expect(join({ ...second, sequenceStarts: null })).toThrow(
      'b: found no sequences, allowed: a recording of tokens',
    );
  });
});
