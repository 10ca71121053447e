import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { decodeNumbers, numberTypes, valuesOf, type NumberType, type Tensor } from './tensor.js';

/** What numpy calls the types of numbers. */
const TYPES: Readonly<Record<string, NumberType>> = {
  b1: 'bool',
  u1: 'uint8',
  i1: 'int8',
  i2: 'int16',
  u2: 'uint16',
  i4: 'int32',
  u4: 'uint32',
  i8: 'int64',
  u8: 'uint64',
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
};

const MAGIC = '\x93NUMPY';
const HEADER_BYTES = 64 * 2 ** 10;

/** An array whose values can be read in parts. */
export interface NpyArray {
  shape: readonly number[];
  type: NumberType;
  /** Values from `start` up to `end`, in C order. */
  values(start: number, end: number): Promise<ArrayLike<number>>;
}

/** Whether a file starts as `.npy` files do. */
export function isNpy(head: Uint8Array): boolean {
  return [...MAGIC].every((char, i) => head[i] === char.charCodeAt(0));
}

/**
 * Opens a `.npy` file (numpy's format, versions 1 to 3).
 * @throws TraceError where it is none, is cut short, holds objects, or has another order of bytes or axes
 */
export async function openNpy(source: ByteSource, place = ''): Promise<NpyArray> {
  const head = await source.read(0, Math.min(HEADER_BYTES, source.byteLength));
  if (!isNpy(head)) throw new TraceError(place, 'not a numpy file', AS_RECORDED);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const wide = head.length > 6 && head[6] >= 2;
  const prefix = wide ? 12 : 10;
  if (head.length < prefix) throw new TraceError(place, 'a header that is cut short', AS_RECORDED);
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  if (prefix + length > head.length) throw new TraceError(place, 'a header that is cut short', AS_RECORDED);
  const text = new TextDecoder().decode(head.subarray(prefix, prefix + length));
  const { shape, type } = parseHeader(place, text);
  const size = numberTypes[type];
  const first = prefix + length;
  const stored = shape.reduce((product, n) => product * n, 1) * size;
  if (source.byteLength !== first + stored) {
    throw new TraceError(
      place,
      `${source.byteLength - first} bytes of values, but its header says ${stored}`,
      AS_RECORDED,
    );
  }
  return {
    shape,
    type,
    values: async (start, end) =>
      decodeNumbers(place, await source.read(first + start * size, first + end * size), type),
  };
}

/** The whole array. @throws TraceError */
export async function readNpyArray(source: ByteSource, place = ''): Promise<Tensor> {
  const array = await openNpy(source, place);
  return { shape: array.shape, data: await array.values(0, valuesOf(place, array.shape, array.type)) };
}

function parseHeader(place: string, text: string): { shape: number[]; type: NumberType } {
  const [, descr] = /'descr':\s*'([^']*)'/.exec(text) ?? [];
  const [, order] = /'fortran_order':\s*(True|False)/.exec(text) ?? [];
  const [, sizes] = /'shape':\s*\(([\d,\s]*)\)/.exec(text) ?? [];
  if (descr === undefined || order === undefined || sizes === undefined) {
    throw new TraceError(place, 'a header that says no type, order and shape of plain numbers', AS_RECORDED);
  }
  const type = /^[<|=]/.test(descr) ? TYPES[descr.slice(1)] : undefined;
  if (type === undefined) {
    const allowed = `little-endian ${Object.values(TYPES).join(', ')}; objects are never read`;
    throw new TraceError(place, `values of type ${descr}`, allowed);
  }
  const shape = sizes
    .split(',')
    .filter((size) => size.trim() !== '')
    .map(Number);
  if (order === 'True' && shape.length > 1) throw new TraceError(place, 'Fortran order', 'C order');
  return { shape, type };
}
