import { z } from 'zod';
import { parseInput } from '../scenario/index.js';
import { sweepSchema } from './schema.js';

/** A file that the scenarios of a sweep name, and the hash of what it held when the sweep was set up. */
export const sweptFileSchema = z.strictObject({
  kind: z.enum(['json', 'trace', 'placement-map']),
  /** As the scenario says it. */
  path: z.string(),
  sha256: z.string(),
});

export type SweptFile = z.output<typeof sweptFileSchema>;

/**
 * What every process that works on a sweep starts from: the sweep with its scenario inside, the files that it
 * needs, and how its points are divided into shards.
 */
const manifestSchema = z.strictObject({
  schema: z.literal('epsim/sweep-manifest@1'),
  /** Version of epsim and of V8: others may compute other digits. */
  version: z.string(),
  v8: z.string(),
  name: z.string(),
  /** Hash of everything that the result depends on. */
  inputs: z.string(),
  /** The scenario's file for messages, and the folder that its paths start at. */
  file: z.string(),
  baseDir: z.string(),
  files: z.array(sweptFileSchema),
  points: z.int().min(1),
  pointsPerShard: z.int().min(1),
  sweep: sweepSchema,
});

export type Manifest = z.output<typeof manifestSchema>;

/** @throws ScenarioError */
export function parseManifest(input: unknown, file: string): Manifest {
  return parseInput(manifestSchema, input, file);
}
