import { z } from 'zod';

export const phases = ['prefill', 'decode'] as const;
export type Phase = (typeof phases)[number];

/** What a trace says of itself. */
export const traceHeaderSchema = z.object({
  schema: z.literal('epsim/trace@1'),
  kind: z.enum(['tokens', 'counts']),
  model: z.string().default('unknown'),
  experts: z.int().min(1).max(65_536),
  topK: z.int().min(1),
  layerIds: z.array(z.int().min(0)).min(1).describe("The model's own number of each recorded layer."),
  phase: z.enum(phases).optional(),
  gpus: z.int().min(1).optional().describe('Source GPUs, where the trace keeps batches.'),
  steps: z
    .int()
    .min(1)
    .optional()
    .describe('Steps, where the trace keeps batches; without the calibration part.'),
  source: z.string().default(''),
  licence: z.string().default(''),
  importance: z
    .array(z.array(z.number()))
    .optional()
    .describe('Importance of every expert by layer; larger is more important.'),
  notes: z.array(z.string()).default([]),
});

export type TraceHeader = z.infer<typeof traceHeaderSchema>;

/** Batches that a token trace keeps: in which step, from which GPU, in the calibration part or not. */
export interface RecordedBatches {
  /** Step of every token, rising from 0; in the calibration part they count from 0 too. */
  step: Int32Array;
  source: Int32Array;
  /** 1 for tokens of the calibration part, which come first. */
  calibration: Uint8Array;
}

/** Routing recorded token by token. */
export interface TokenTrace {
  kind: 'tokens';
  header: TraceHeader;
  tokens: number;
  /** [(token · layers + layer) · topK + choice] */
  experts: Uint8Array | Uint16Array;
  /** Gate weights in the order of `experts`, or null. */
  weights: Float32Array | null;
  /** First token of every sequence, and the end; null where sequences are not known. */
  sequenceStarts: Int32Array | null;
  batches: RecordedBatches | null;
}

/** One step of a trace of counts. */
export interface CountedStep {
  calibration: boolean;
  /** Copies by layer, [source · experts + expert]; with one source where sources are not known. */
  layers: Int32Array[];
}

/** Routing recorded as copies per expert. */
export interface CountTrace {
  kind: 'counts';
  header: TraceHeader;
  steps: CountedStep[];
}

export type Trace = TokenTrace | CountTrace;

/** A trace that can't be used, or not so: where, what was found, and what is allowed. */
export class TraceError extends Error {
  override name = 'TraceError';

  /** @param place part, column, row; empty: the trace as a whole */
  constructor(
    readonly place: string,
    readonly found: string,
    readonly allowed: string,
  ) {
    super(`${place === '' ? '' : `${place}: `}found ${found}, allowed: ${allowed}`);
  }

  /** The same error, seen from outside: the file that the trace is, the scenario that names it. */
  within(place: string): TraceError {
    return new TraceError(this.place === '' ? place : `${place}: ${this.place}`, this.found, this.allowed);
  }
}

/** What a damaged file should have been. */
export const AS_RECORDED = 'the file as it was recorded: this one is truncated or corrupt';

/** The first thing that is wrong with metadata. */
export function metadataError(place: string, error: z.ZodError, input: unknown): TraceError {
  const [issue] = error.issues;
  const { path } = issue;
  const value = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | null)?.[key], input);
  const allowed = issue.code === 'invalid_type' ? `of type ${issue.expected}` : issue.message;
  const at = path.length === 0 ? place : `${place} ${path.join('.')}`;
  return new TraceError(at, value === undefined ? 'nothing' : JSON.stringify(value).slice(0, 80), allowed);
}

/** @throws TraceError where an expert number is out of range */
export function checkExperts(trace: TokenTrace): void {
  const { experts: limit } = trace.header;
  const { experts } = trace;
  for (let i = 0; i < experts.length; i++) {
    if (experts[i] >= limit) {
      const perToken = trace.header.layerIds.length * trace.header.topK;
      throw new TraceError(`token ${Math.floor(i / perToken)}`, `expert ${experts[i]}`, `0 to ${limit - 1}`);
    }
  }
}

/** @throws TraceError where sequence starts don't rise from 0 to the number of tokens */
export function checkSequenceStarts(starts: ArrayLike<number>, tokens: number): void {
  if (starts.length < 2 || starts[0] !== 0 || starts[starts.length - 1] !== tokens) {
    throw new TraceError(
      'sequence starts',
      `${starts.length} from ${starts[0]} to ${starts[starts.length - 1]}`,
      `rising from 0 to the number of tokens, ${tokens}`,
    );
  }
  for (let i = 1; i < starts.length; i++) {
    if (starts[i] <= starts[i - 1]) {
      throw new TraceError('sequence starts', `${starts[i]} after ${starts[i - 1]}`, 'rising numbers');
    }
  }
}
