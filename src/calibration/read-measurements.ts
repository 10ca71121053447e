import { z } from 'zod';
import { describeIssue } from '../scenario/index.js';
import { MeasurementError } from './measurement-error.js';
import { measurementsSchema, publishedSchema, timedSchema, type Measurements } from './measurements.js';

// A row is one of two kinds and says which: asking only that one tells what is wrong with it.
const headSchema = measurementsSchema.extend({ rows: z.array(z.unknown()).min(1) });
const schemas = [headSchema, timedSchema, publishedSchema] as const;
const jsonSchemas = new Map<z.ZodType, object>();

/**
 * Checks what a file of measurements holds.
 * @param file name for messages
 * @throws MeasurementError with the path of the first thing that is wrong
 */
export function readMeasurements(json: unknown, file: string): Measurements {
  const head = check(schemas[0], json, '', file);
  const rows = head.rows.map((row, i) =>
    check(isTimed(row) ? schemas[1] : schemas[2], row, `rows[${i}]`, file),
  );
  return { ...head, rows };
}

/** The text of a file of measurements: a row a line, short to read and to compare. */
export function measurementsText({ rows, ...head }: Measurements): string {
  const lines = rows.map((row) => `    ${JSON.stringify(row)}`).join(',\n');
  return `${JSON.stringify(head, null, 2).slice(0, -2)},\n  "rows": [\n${lines}\n  ]\n}\n`;
}

function isTimed(row: unknown): boolean {
  return typeof row === 'object' && row !== null && 'case' in row;
}

function check<S extends z.ZodType>(schema: S, input: unknown, place: string, file: string): z.infer<S> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  if (!jsonSchemas.has(schema)) jsonSchemas.set(schema, z.toJSONSchema(schema));
  const { path, found, allowed } = describeIssue(parsed.error.issues, input, jsonSchemas.get(schema)!);
  throw new MeasurementError(file, [place, path].filter((part) => part !== '').join('.'), found, allowed);
}
