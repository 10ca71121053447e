import { z } from 'zod';
import type { TokenRows } from './token-rows.js';

export const phases = ['prefill', 'decode'] as const;
export type Phase = (typeof phases)[number];

/** Which expert every physical slot held from a step on. */
const placementSchema = z.object({
  step: z.int().min(0),
  slots: z.array(z.array(z.int().min(0))).describe('Expert of every slot, [layer][slot].'),
});

export type RecordedPlacement = z.infer<typeof placementSchema>;

/** What a trace says of itself. */
export const traceHeaderSchema = z.object({
  schema: z.literal('epsim/trace@1'),
  kind: z.enum(['tokens', 'counts']),
  model: z.string().default('unknown'),
  experts: z.int().min(1).max(65_536),
  topK: z.int().min(1),
  layerIds: z.array(z.int().min(0)).min(1).describe("The model's own number of each recorded layer."),
  phase: z.enum(phases).optional().describe('Phase of the whole trace; absent where it is mixed or unknown.'),
  gpus: z.int().min(1).optional().describe('Source GPUs, where the trace keeps batches and knows them.'),
  steps: z
    .int()
    .min(1)
    .optional()
    .describe('Steps, where the trace keeps batches; without the calibration part.'),
  stepOrder: z
    .literal('unknown')
    .optional()
    .describe('unknown: the steps are a set, so that nothing that depends on their order means anything.'),
  domains: z.array(z.string()).max(65_536).optional().describe('Names of the domains of the sequences.'),
  placements: z
    .array(placementSchema)
    .optional()
    .describe('Physical-to-logical maps that were in force while recording, each from its step on.'),
  source: z.string().default(''),
  licence: z.string().default(''),
  importance: z
    .array(z.array(z.number()))
    .optional()
    .describe('Importance of every expert by layer; larger is more important.'),
  notes: z.array(z.string()).default([]),
});

export type TraceHeader = z.infer<typeof traceHeaderSchema>;

/** Batches that a token trace keeps. */
export interface RecordedBatches {
  /** First token of every step, the calibration steps first, and the end. */
  starts: Int32Array;
  /** Steps of the calibration part. */
  calibrationSteps: number;
  /** Source GPU of every token. */
  source: Uint16Array;
}

/** Routing recorded token by token. */
export interface TokenTrace {
  kind: 'tokens';
  header: TraceHeader;
  tokens: number;
  rows: TokenRows;
  /** First token of every sequence, and the end; null where sequences are not known. */
  sequenceStarts: Int32Array | null;
  /** Index of every sequence's domain in `header.domains`; null where domains are not known. */
  sequenceDomains: Uint16Array | null;
  batches: RecordedBatches | null;
  /** Index of every token's phase in `phases`, where the trace mixes them. */
  phase: Uint8Array | null;
  /** 1 for tokens that are padding or a dummy; null where the recording tells none apart. */
  padding: Uint8Array | null;
}

/** One step of a trace of counts. */
export interface CountedStep {
  calibration: boolean;
  /** Copies without padding by layer, [source · experts + expert]; one source where sources are not known. */
  layers: Int32Array[];
  /** Copies of padding in the same order, where the recording tells them apart. */
  padding?: Int32Array[];
  /** Where the trace mixes phases. */
  phase?: Phase;
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

/** @throws TraceError where an expert number is out of range; experts [(token · layers + layer) · topK + choice] */
export function checkExperts(experts: ArrayLike<number>, header: TraceHeader): void {
  const limit = header.experts;
  for (let i = 0; i < experts.length; i++) {
    if (experts[i] >= limit) {
      const perToken = header.layerIds.length * header.topK;
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
