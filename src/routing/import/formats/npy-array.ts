import { TraceError, type TraceHeader } from '../../trace/trace.js';
import { openNpy, type NpyArray } from '../containers/npy.js';
import { checkWhole } from '../containers/tensor.js';
import { CountSteps } from '../count-steps.js';
import { inFile, type FilePeek, type ImportJob, type TraceFormat } from '../format.js';
import { MOST_EXPERTS } from '../limits.js';

const isArray = ({ name }: FilePeek) => name.endsWith('.npy');
/** Values that are read at a time. */
const CHUNK = 2 ** 20;

/** Picks [tokens][layers][topK] of a plain numpy array. */
export const npyTokens: TraceFormat = {
  name: 'npy-tokens',
  summary: 'a numpy array of experts, [tokens][layers][topK]',
  // The same shape may hold counts: only what a name says can tell.
  detects: (files) =>
    files.length === 1 && isArray(files[0]) && /expert|pick|topk|route/i.test(files[0].name),
  read: (job) => readOne(job, readTokens),
};

/** Counts [layers][experts] or [steps][layers][experts] of a plain numpy array. */
export const npyCounts: TraceFormat = {
  name: 'npy-counts',
  summary: 'a numpy array of copies, [layers][experts] or [steps][layers][experts]',
  detects: (files) => files.length === 1 && isArray(files[0]) && /count|load/i.test(files[0].name),
  read: (job) => readOne(job, readCounts),
};

function readOne(job: ImportJob, read: (job: ImportJob, array: NpyArray) => Promise<TraceHeader>) {
  const [file] = job.files;
  if (job.files.length > 1) throw new TraceError('', `${job.files.length} files`, 'one array');
  return inFile(file, async () => read(job, await openNpy(file)));
}

async function readTokens(job: ImportJob, array: NpyArray): Promise<TraceHeader> {
  const { shape } = array;
  if (shape.length !== 3 || shape.includes(0)) {
    throw new TraceError('', `shape [${shape.join(', ')}]`, '[tokens, layers, topK]');
  }
  const [tokens, layers, topK] = shape;
  const limit = job.options.experts ?? MOST_EXPERTS;
  const trace = job.tokens(
    { experts: limit, topK: job.topK(topK, limit), layerIds: Array.from({ length: layers }, (_, l) => l) },
    { batches: false, sequences: false, domains: false, phases: false, padding: false, weights: false },
  );
  const perToken = layers * topK;
  const perChunk = Math.max(1, Math.floor(CHUNK / perToken));
  let seen = 0;
  for (let first = 0; first < tokens; first += perChunk) {
    const end = Math.min(first + perChunk, tokens);
    const picks = await array.values(first * perToken, end * perToken);
    checkWhole(`tokens ${first} to ${end - 1}`, picks, limit);
    for (let i = 0; i < picks.length; i++) if (picks[i] > seen) seen = picks[i];
    for (let token = first; token < end; token++)
      trace.writer.add({}, picks, null, (token - first) * perToken);
  }
  if (job.options.experts === undefined) {
    job.note(
      `${seen + 1} experts: the largest number seen and one more, since the array does not say how many (--experts does)`,
    );
  }
  job.note('sequences are not known');
  return trace.finish({ experts: job.options.experts ?? seen + 1 });
}

async function readCounts(job: ImportJob, array: NpyArray): Promise<TraceHeader> {
  const { shape } = array;
  if (![2, 3].includes(shape.length) || shape.includes(0)) {
    throw new TraceError('', `shape [${shape.join(', ')}]`, '[layers, experts] or [steps, layers, experts]');
  }
  const [rows, layers, width] = shape.length === 3 ? shape : [1, ...shape];
  const experts = job.experts(width);
  const steps = new CountSteps(job, {
    experts,
    topK: job.topK(undefined, experts),
    layerIds: Array.from({ length: layers }, (_, l) => l),
  });
  job.note('counts without source GPUs: every expert’s copies are split evenly over the GPUs');
  const size = layers * experts;
  for (let row = 0; row < rows; row++) {
    const counts = await array.values(row * size, (row + 1) * size);
    checkWhole(`step ${row}`, counts, 2 ** 31);
    steps.add(
      `step ${row}`,
      Array.from({ length: layers }, (_, l) =>
        Int32Array.from({ length: experts }, (_, e) => counts[l * experts + e]),
      ),
    );
  }
  return steps.finish();
}
