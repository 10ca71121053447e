import { Command } from '@commander-js/extra-typings';
import { profileText } from '../../../report/index.js';
import { openProfile } from './open-profile.js';

export function showCommand() {
  return new Command('show')
    .description('print a profile: every number, how good it is, and where it comes from')
    .argument('<profile>', "a GPU's name, a shipped profile's name, or a profile's path")
    .action(async (profile) => {
      process.stdout.write(`${profileText(await openProfile(profile))}\n`);
    });
}
