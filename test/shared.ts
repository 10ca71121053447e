import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const place = process.env.EPSIM_SHARED ?? resolve(fileURLToPath(new URL('..', import.meta.url)), '../shared');

/** The folder of recordings and tables that are not part of the project; null where it is not there. */
export const shared: string | null = existsSync(resolve(place, 'traces')) ? place : null;

if (shared === null) {
  const message = `no recordings in ${place} (EPSIM_SHARED says where else): tests on them are left out`;
  if (process.env.EPSIM_REQUIRE_SHARED === '1') throw new Error(message);
  console.warn(message);
}

export function bytesOf(path: string): ArrayBuffer {
  const buffer = readFileSync(path);
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
}
