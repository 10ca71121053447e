import { rowsInMemory, type TokenBlock } from './token-rows.js';
import type { CountTrace, TokenTrace, Trace } from './trace.js';

/** A trace as plain data: without functions, so that it can be given to another thread. */
export type PackedTrace = CountTrace | (Omit<TokenTrace, 'rows'> & { picks: TokenBlock });

/** The trace as plain data; null where its tokens do not lie in memory. */
export function packTrace(trace: Trace): PackedTrace | null {
  if (trace.kind === 'counts') return trace;
  const { rows, ...plain } = trace;
  return rows.blockTokens >= trace.tokens ? { ...plain, picks: rows.block(0) } : null;
}

export function unpackTrace(packed: PackedTrace): Trace {
  if (packed.kind === 'counts') return packed;
  const { picks, ...plain } = packed;
  return { ...plain, rows: rowsInMemory(packed.tokens, picks.experts, picks.weights) };
}
