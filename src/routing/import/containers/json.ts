import { z } from 'zod';
import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, metadataError, TraceError } from '../../trace/trace.js';
import { checkSize, MOST_DOCUMENT_BYTES } from '../limits.js';

/** @throws TraceError where a text is no JSON */
export function parseJson(place: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TraceError(place, `no JSON (${(error as Error).message.slice(0, 120)})`, AS_RECORDED);
  }
}

/** A whole JSON file. @throws TraceError where it is none, or too large to be read as a whole */
export async function readJsonFile(source: ByteSource): Promise<unknown> {
  checkSize('', source.byteLength, MOST_DOCUMENT_BYTES);
  return parseJson('', new TextDecoder().decode(await source.read(0, source.byteLength)));
}

/** @throws TraceError that says what is wrong where */
export function parseAs<T>(place: string, schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (!parsed.success) throw metadataError(place, parsed.error, input);
  return parsed.data;
}
