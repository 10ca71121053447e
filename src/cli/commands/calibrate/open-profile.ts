import { profileSchema, shippedProfiles, type Profile } from '../../../hardware/index.js';
import { readJson } from '../../../files/index.js';
import { parseInput } from '../../../scenario/index.js';

/**
 * A profile by its name, its GPU's name or its path.
 * @throws FileError or ScenarioError, with what was found and what is allowed
 */
export async function openProfile(name: string): Promise<Profile> {
  const shipped = shippedProfiles.find((profile) => profile.name === name || profile.gpu === name);
  return shipped ?? parseInput(profileSchema, await readJson(name), name);
}
