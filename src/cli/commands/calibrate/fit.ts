import { Command } from '@commander-js/extra-typings';
import { fitProfile, readMeasurements } from '../../../calibration/index.js';
import { readJson, writeWhole } from '../../../files/index.js';
import { profileText } from '../../../report/index.js';
import { openProfile } from './open-profile.js';

export function fitCommand() {
  return new Command('fit')
    .description('make a profile of measurements; what they do not reach is taken from a base profile')
    .argument('<measurements...>', 'files of `calibrate measure` or `calibrate import`')
    .requiredOption('--base <profile>', "a GPU's name, a shipped profile's name, or a profile's path")
    .requiredOption('--name <name>', 'name of the profile')
    .requiredOption('--out <file>', 'the profile to write (.json)')
    .option(
      '--skew-from <profile>',
      'take how unequal work errs from this profile where only balanced rows were measured',
    )
    .option('--no-lookup', 'fit the form only, without factors for shapes that were measured at many sizes')
    .action(async (files, { base, name, out, skewFrom, lookup }) => {
      const measured = await Promise.all(
        files.map(async (file) => ({ file, measurements: readMeasurements(await readJson(file), file) })),
      );
      const profile = fitProfile(measured, await openProfile(base), name, {
        skewFrom: skewFrom === undefined ? undefined : await openProfile(skewFrom),
        lookups: lookup,
        onNote: (note) => console.error(note),
      });
      await writeWhole(out, `${JSON.stringify(profile, null, 2)}\n`);
      process.stdout.write(`${profileText(profile)}\n`);
    });
}
