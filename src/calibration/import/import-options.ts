import { MeasurementError } from '../measurement-error.js';
import type { CollectiveRow } from '../measurements.js';

/** Formats that can be imported. */
export const IMPORT_FORMATS = [
  'aiconfigurator-moe',
  'aiconfigurator-nccl',
  'aiconfigurator-deepep',
  'nccl-tests',
  'deepep-log',
] as const;

export type ImportFormat = (typeof IMPORT_FORMATS)[number];

/** What an import is told beside the text; all but the file's name stands in for what the text leaves open. */
export interface ImportOptions {
  /** Name for messages; a GPU in it is compared with the device in the table. */
  file: string;
  /** Default: what the content looks like. */
  as?: ImportFormat;
  device?: string;
  nodes?: number;
  gpusPerNode?: number;
  hiddenSize?: number;
  tokensPerGpu?: number;
  topK?: number;
  experts?: number;
  collective?: CollectiveRow['collective'];
  /** Hears what was left out of the measurements, or deserves a second look. */
  onNote?: (note: string) => void;
}

/** Option of the command line of each part of the options that stands in for something. */
const FLAGS = {
  device: '--device',
  nodes: '--nodes',
  gpusPerNode: '--gpus-per-node',
  hiddenSize: '--hidden-size',
  tokensPerGpu: '--tokens-per-gpu',
  topK: '--top-k',
  experts: '--experts',
  collective: '--collective',
} as const satisfies Partial<Record<keyof ImportOptions, string>>;

/**
 * What the text says, or else the option that stands in for it.
 * @throws MeasurementError where neither says it, or they disagree
 */
export function said<K extends keyof typeof FLAGS>(
  options: ImportOptions,
  name: K,
  inText: NonNullable<ImportOptions[K]> | undefined,
): NonNullable<ImportOptions[K]> {
  const given = options[name] as NonNullable<ImportOptions[K]> | undefined;
  if (inText !== undefined && given !== undefined && given !== inText) {
    throw new MeasurementError(options.file, FLAGS[name], String(given), `${inText}, as the file says`);
  }
  const value = inText ?? given;
  if (value !== undefined) return value;
  throw new MeasurementError(
    options.file,
    '',
    `nothing that says ${WORDS[name]}`,
    `the option ${FLAGS[name]} that says it`,
  );
}

const WORDS: Record<keyof typeof FLAGS, string> = {
  device: 'what GPU it was measured on',
  nodes: 'how many nodes took part',
  gpusPerNode: 'how many GPUs a node has',
  hiddenSize: 'the hidden size',
  tokensPerGpu: 'how many tokens a GPU had',
  topK: 'how many experts a token goes to',
  experts: 'how many experts there were',
  collective: 'which collective was timed',
};
