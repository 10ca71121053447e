import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import type { Scratch } from '../routing/index.js';
import { FileError, reasonOf } from './file-error.js';

/** Closes what nothing holds any more. */
const forgotten = new FinalizationRegistry<number>((file) => closeSync(file));

/**
 * A temporary file without a name, in the system's folder for such (TMPDIR says where): it goes when the
 * process does, however that ends.
 * @throws FileError, also later, where the disk is full
 */
export function openScratch(): Scratch {
  const path = join(tmpdir(), `.epsim-${randomUUID()}.tmp`);
  const file = attempt(() => {
    const opened = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return opened;
  });
  let end = 0;
  const scratch: Scratch = {
    append(bytes) {
      for (let at = 0; at < bytes.length;) {
        at += attempt(() => writeSync(file, bytes, at, bytes.length - at, end + at));
      }
      end += bytes.length;
    },
    read(position, into) {
      // The last block may be shorter than the others.
      const wanted = Math.min(into.length, end - position);
      for (let at = 0; at < wanted;)
        at += attempt(() => readSync(file, into, at, wanted - at, position + at));
    },
  };
  forgotten.register(scratch, file);
  return scratch;
}

function attempt<T>(use: () => T): T {
  try {
    return use();
  } catch (error) {
    throw new FileError(
      `${tmpdir()}: found ${reasonOf(error)} for a temporary file, allowed: room for the decoded trace (TMPDIR says where)`,
    );
  }
}
