import { readPlacementMap as decode, type PlacementMap } from '../balancing/index.js';
import { partsOf, ScenarioError } from '../scenario/index.js';
import { readBytes } from './read.js';
import { hashOf } from './write.js';

/**
 * Opens a placement map of an engine.
 * @throws FileError, or ScenarioError with what was found in the file and what is allowed
 */
export async function readPlacementMap(path: string): Promise<{ map: PlacementMap; sha256: string }> {
  const bytes = await readBytes(path);
  try {
    return { map: await decode(bytes), sha256: hashOf([bytes]) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const parts = partsOf(error.message, 'this file');
    throw new ScenarioError(path, parts.path, parts.found, parts.allowed);
  }
}
