import { TraceError } from '../trace/trace.js';

/** A document that is parsed as a whole (JSON, a pickle), bytes. */
export const MOST_DOCUMENT_BYTES = 256 * 2 ** 20;
/** A member of an archive, a tensor or an array that is read as a whole, bytes. */
export const MOST_ARRAY_BYTES = 2 ** 30;
/** Members of an archive. */
export const MOST_MEMBERS = 1_000_000;
/** Experts of a layer: their numbers take 16 bits. */
export const MOST_EXPERTS = 65_536;

/** @throws TraceError where something would need more memory than is allowed */
export function checkSize(place: string, bytes: number, most: number): void {
  if (bytes <= most) return;
  const mebibytes = (amount: number) => `${Math.ceil(amount / 2 ** 20)} MiB`;
  throw new TraceError(place, mebibytes(bytes), `at most ${mebibytes(most)}, since it is read as a whole`);
}
