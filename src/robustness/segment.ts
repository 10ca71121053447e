import type { RoutingSource } from '../routing/index.js';

/** A part of the routing that traffic may come to consist of, in two halves: what plans has not seen what is scored. */
export interface Segment {
  name: string;
  /** Share of the recording's tokens (or steps). */
  share: number;
  planning: RoutingSource;
  scoring: RoutingSource;
}

/** How routing is cut into segments. */
export type SegmentChoice =
  | { kind: 'domains' }
  /** So many of equal length, one after the other. */
  | { kind: 'windows'; windows: number }
  | { kind: 'traces'; paths: string[] };

/**
 * Reads `domains`, `windows:<n>` or `traces:<path>,<path>,…`.
 * @throws RangeError of the form `found …, allowed: …`
 */
export function parseSegments(text: string): SegmentChoice {
  const [kind, rest] = text.split(/:(.*)/s);
  if (text === 'domains') return { kind: 'domains' };
  if (kind === 'windows' && /^\d+$/.test(rest ?? '') && Number(rest) >= 2) {
    return { kind, windows: Number(rest) };
  }
  const paths = (rest ?? '').split(',').filter((path) => path !== '');
  if (kind === 'traces' && paths.length >= 2) return { kind, paths };
  throw new RangeError(
    `found '${text}', allowed: domains, windows:<n> with n ≥ 2, or traces:<path>,<path>,… with two or more`,
  );
}
