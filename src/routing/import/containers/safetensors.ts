import { z } from 'zod';
import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { checkSize, MOST_DOCUMENT_BYTES } from '../limits.js';
import { parseAs, parseJson } from './json.js';
import { decodeNumbers, numberTypes, valuesOf, type NumberType, type Tensor } from './tensor.js';

/** What safetensors calls the types of numbers. */
const TYPES: Readonly<Record<string, NumberType>> = {
  BOOL: 'bool',
  U8: 'uint8',
  I8: 'int8',
  I16: 'int16',
  U16: 'uint16',
  I32: 'int32',
  U32: 'uint32',
  I64: 'int64',
  U64: 'uint64',
  F16: 'float16',
  BF16: 'bfloat16',
  F32: 'float32',
  F64: 'float64',
};

const entrySchema = z.object({
  dtype: z.enum(Object.keys(TYPES) as [string, ...string[]]),
  shape: z.array(z.int().min(0)),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});

/** Tensors of a safetensors file by name. */
export interface SafetensorsFile {
  names: readonly string[];
  read(name: string): Promise<Tensor>;
}

/**
 * Opens a safetensors file: the length of its header (8 bytes), the header as JSON, the tensors.
 * @throws TraceError where it is none, is cut short or contradicts itself
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  if (source.byteLength < 8) throw new TraceError('', `${source.byteLength} bytes`, AS_RECORDED);
  const prefix = await source.read(0, 8);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));
  if (length > source.byteLength - 8) {
    throw new TraceError('', `a header of ${length} bytes in a file of ${source.byteLength}`, AS_RECORDED);
  }
  checkSize('header', length, MOST_DOCUMENT_BYTES);
  const text = new TextDecoder().decode(await source.read(8, 8 + length));
  const header = parseAs('header', z.record(z.string(), z.unknown()), parseJson('header', text));
  const entries = new Map(Object.entries(header).filter(([name]) => name !== '__metadata__'));
  const first = 8 + length;
  return {
    names: [...entries.keys()],
    async read(name) {
      const { dtype, shape, data_offsets: offsets } = parseAs(name, entrySchema, entries.get(name));
      const type = TYPES[dtype];
      const [start, end] = offsets;
      const bytes = valuesOf(name, shape, type) * numberTypes[type];
      if (end - start !== bytes || first + end > source.byteLength) {
        const found = `bytes ${start} to ${end} for ${bytes} bytes of values`;
        throw new TraceError(name, found, `${bytes} bytes inside the file of ${source.byteLength}`);
      }
      return { shape, data: decodeNumbers(name, await source.read(first + start, first + end), type) };
    },
  };
}
