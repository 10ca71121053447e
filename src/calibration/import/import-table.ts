import { MeasurementError } from '../measurement-error.js';
import type { Measurements } from '../measurements.js';
import { importDeepepLog } from './deepep-log.js';
import { importDeepepTable } from './deepep-table.js';
import { detectFormat } from './detect-format.js';
import type { ImportFormat, ImportOptions } from './import-options.js';
import { importMoeTable } from './moe-table.js';
import { importNcclTable } from './nccl-table.js';
import { importNcclTests } from './nccl-tests.js';

const IMPORTS: Readonly<Record<ImportFormat, (text: string, options: ImportOptions) => Measurements>> = {
  'aiconfigurator-moe': importMoeTable,
  'aiconfigurator-nccl': importNcclTable,
  'aiconfigurator-deepep': importDeepepTable,
  'nccl-tests': importNcclTests,
  'deepep-log': importDeepepLog,
};

/**
 * Measurements of a published table or of a test's output.
 * @param text decoded and decompressed
 * @returns one for each origin in the text, which in every format so far is one
 * @throws MeasurementError
 */
export function importTable(text: string, options: ImportOptions): Measurements[] {
  const plain = text.replace(/^\uFEFF/, '');
  if (plain.trim() === '') throw new MeasurementError(options.file, '', 'an empty file', 'measurements');
  return [IMPORTS[options.as ?? detectFormat(plain, options.file)](plain, options)];
}
