import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Path of a file that is shipped with this package, whichever file of it asks. */
export function packageFile(path: string): string {
  return join(dirname(createRequire(import.meta.url).resolve('epsim/package.json')), path);
}
