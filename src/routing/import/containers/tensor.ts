import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { checkSize, MOST_ARRAY_BYTES } from '../limits.js';

/** Kinds of numbers that recordings hold. */
export const numberTypes = {
  bool: 1,
  uint8: 1,
  int8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
} as const;

export type NumberType = keyof typeof numberTypes;

/** An array of numbers in C order. */
export interface Tensor {
  shape: readonly number[];
  data: ArrayLike<number>;
}

/** Number of values of a shape. @throws TraceError where they are too many for memory */
export function valuesOf(place: string, shape: readonly number[], type: NumberType): number {
  const values = shape.reduce((product, size) => product * size, 1);
  checkSize(place, values * Math.max(numberTypes[type], 4), MOST_ARRAY_BYTES);
  return values;
}

/**
 * Little-endian numbers as they are stored.
 * @throws TraceError where 64-bit numbers are larger than a float holds exactly
 */
export function decodeNumbers(place: string, bytes: Uint8Array, type: NumberType): ArrayLike<number> {
  const size = numberTypes[type];
  const count = Math.floor(bytes.byteLength / size);
  // Copied where the bytes don't start at a multiple of their size.
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  switch (type) {
    case 'bool':
    case 'uint8':
      return new Uint8Array(buffer, byteOffset, count);
    case 'int8':
      return new Int8Array(buffer, byteOffset, count);
    case 'int16':
      return new Int16Array(buffer, byteOffset, count);
    case 'uint16':
      return new Uint16Array(buffer, byteOffset, count);
    case 'int32':
      return new Int32Array(buffer, byteOffset, count);
    case 'uint32':
      return new Uint32Array(buffer, byteOffset, count);
    case 'float32':
      return new Float32Array(buffer, byteOffset, count);
    case 'float64':
      return new Float64Array(buffer, byteOffset, count);
    case 'int64':
    case 'uint64': {
      const wide =
        type === 'int64'
          ? new BigInt64Array(buffer, byteOffset, count)
          : new BigUint64Array(buffer, byteOffset, count);
      const numbers = new Float64Array(count);
      for (let i = 0; i < count; i++) {
        numbers[i] = Number(wide[i]);
        if (!Number.isSafeInteger(numbers[i])) throw new TraceError(place, String(wide[i]), AS_RECORDED);
      }
      return numbers;
    }
    case 'bfloat16': {
      const halves = new Uint16Array(buffer, byteOffset, count);
      return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
    }
    case 'float16':
      return Float32Array.from(new Uint16Array(buffer, byteOffset, count), halfFloat);
  }
}

function halfFloat(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Checks that all values are whole numbers from `least` to below `limit`. @throws TraceError */
export function checkWhole(place: string, data: ArrayLike<number>, limit: number, least = 0): void {
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (!(value >= least && value < limit && Number.isInteger(value))) {
      throw new TraceError(
        `${place}, value ${i}`,
        String(value),
        `whole numbers from ${least} to ${limit - 1}`,
      );
    }
  }
}

/** @throws TraceError where a shape is not the wanted one; null: any size */
export function checkShape(
  place: string,
  shape: readonly number[],
  wanted: readonly (number | null)[],
): void {
  const fits =
    shape.length === wanted.length && wanted.every((size, i) => size === null || size === shape[i]);
  if (fits) return;
  const allowed = wanted.map((size) => size ?? 'any').join(', ');
  throw new TraceError(place, `shape [${shape.join(', ')}]`, `[${allowed}]`);
}
