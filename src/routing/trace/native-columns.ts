import { phases, type TraceHeader } from './trace.js';

/** Key under which the header stands in the file's metadata. */
export const HEADER_KEY = 'epsim';
/** Key of the checksums; files written before there were any lack it, and are read unchecked. */
export const CHECKSUM_KEY = 'epsim/checksums';

/** A column of a native trace. Names are stored as text and stand for their index everywhere else. */
export interface Column {
  name: string;
  type: 'INT32' | 'FLOAT' | 'BOOLEAN' | 'NAME';
  /** What a `NAME` may be. */
  names?: readonly string[];
}

/** What a token trace holds beside the experts. */
export interface TokenColumns {
  /** Steps, source GPUs, the calibration part. */
  batches: boolean;
  sequences: boolean;
  /** Domains of the sequences. */
  domains: boolean;
  /** Phases that differ between tokens. */
  phases: boolean;
  padding: boolean;
  weights: boolean;
}

/** What a trace of counts holds beside the copies. */
export interface CountColumns {
  phases: boolean;
  padding: boolean;
}

const int = (name: string): Column => ({ name, type: 'INT32' });
const flag = (name: string): Column => ({ name, type: 'BOOLEAN' });
const PHASE: Column = { name: 'phase', type: 'NAME', names: phases };

/** Columns of a token trace: a row for every token and layer, sorted by token, then layer. */
export function tokenColumns({ topK, domains = [] }: TraceHeader, has: TokenColumns): Column[] {
  return [
    ...(has.batches ? [flag('calibration'), int('step'), int('source_gpu')] : []),
    ...(has.sequences ? [int('sequence')] : []),
    ...(has.domains ? [{ name: 'domain', type: 'NAME', names: domains } as const] : []),
    ...(has.phases ? [PHASE] : []),
    ...(has.padding ? [flag('padding')] : []),
    int('token'),
    int('layer'),
    ...Array.from({ length: topK }, (_, j) => int(`expert_${j}`)),
    ...(has.weights
      ? Array.from({ length: topK }, (_, j): Column => ({ name: `weight_${j}`, type: 'FLOAT' }))
      : []),
  ];
}

/** Columns of a trace of counts: a row for every step, layer, source GPU and expert with copies. */
export function countColumns(has: CountColumns): Column[] {
  return [
    flag('calibration'),
    int('step'),
    ...(has.phases ? [PHASE] : []),
    int('layer'),
    int('source_gpu'),
    int('expert'),
    int('copies'),
    ...(has.padding ? [int('padding_copies')] : []),
  ];
}
