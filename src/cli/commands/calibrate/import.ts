import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import {
  IMPORT_FORMATS,
  importTable,
  joinMeasurements,
  measurementsText,
  type Measurements,
} from '../../../calibration/index.js';
import { readText, writeWhole } from '../../../files/index.js';

const COLLECTIVES = ['all-to-all', 'all-gather', 'reduce-scatter', 'all-reduce'] as const;

export function importCommand() {
  return new Command('import')
    .description('make measurements of published tables, or of what your own tests of communication printed')
    .argument('<files...>', 'tables (.csv, .csv.gz) or outputs, of one device and one source')
    .requiredOption('--out <file>', 'the measurements to write (.json)')
    .addOption(
      new Option('--as <format>', 'what the files are (default: what they look like)').choices(
        IMPORT_FORMATS,
      ),
    )
    .option('--device <name>', 'GPU, where the file does not say it')
    .option('--nodes <count>', 'nodes, where the file does not say it', count)
    .option('--gpus-per-node <count>', 'GPUs of a node (default: as the file says, DeepEP tables 8)', count)
    .option('--hidden-size <size>', 'hidden size, where the file does not say it', count)
    .option('--tokens-per-gpu <count>', 'tokens of a GPU, where the file does not say it', count)
    .option('--top-k <count>', 'experts of a token, where the file does not say it', count)
    .option('--experts <count>', 'experts, where the file does not say it', count)
    .addOption(
      new Option('--collective <name>', 'collective, where the file does not say it').choices(COLLECTIVES),
    )
    .action(async (files, { out, ...options }) => {
      const parts: { file: string; measurements: Measurements }[] = [];
      for (const file of files) {
        const onNote = (note: string) => console.error(`${file}: ${note}`);
        for (const measurements of importTable(await readText(file), { ...options, file, onNote })) {
          console.error(`${file}: ${measurements.rows.length} rows of ${measurements.device.name}`);
          parts.push({ file, measurements });
        }
      }
      await writeWhole(out, measurementsText(joinMeasurements(parts)));
    });
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('Allowed: a whole number ≥ 1.');
  return value;
}
