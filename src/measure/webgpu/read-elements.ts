import type { Gpu } from './gpu.js';
import { bytesPerElement, type ElementType } from './plan.js';

/**
 * Ranges of a device buffer as numbers.
 * @param ranges element indices, start inclusive and end exclusive
 */
export async function readElements(
  gpu: Gpu,
  buffer: GPUBuffer,
  type: ElementType,
  ranges: readonly (readonly [start: number, end: number])[],
): Promise<Float64Array[]> {
  const size = bytesPerElement(type);
  // Copies take whole words
  const words = ranges.map(([start, end]) => ({
    from: Math.floor((start * size) / 4) * 4,
    to: Math.ceil((end * size) / 4) * 4,
  }));
  const total = words.reduce((sum, { from, to }) => sum + to - from, 0);
  const readable = gpu.device.createBuffer({ size: total, usage: gpu.usage.MAP_READ | gpu.usage.COPY_DST });
  const encoder = gpu.device.createCommandEncoder();
  const places: number[] = [];
  let at = 0;
  for (const { from, to } of words) {
    encoder.copyBufferToBuffer(buffer, from, readable, at, to - from);
    places.push(at);
    at += to - from;
  }
  gpu.device.queue.submit([encoder.finish()]);
  const result = await gpu.mapped(readable, (bytes) => {
    const elements = decode(bytes, type);
    return ranges.map(([start, end], i) => {
      const first = (places[i] + start * size - words[i].from) / size;
      return Float64Array.from(elements.subarray(first, first + end - start));
    });
  });
  readable.destroy();
  return result;
}

function decode(bytes: ArrayBuffer, type: ElementType): Float32Array | Uint32Array | Float64Array {
  switch (type) {
    case 'fp32':
      return new Float32Array(bytes);
    case 'u32':
      return new Uint32Array(bytes);
    case 'fp16':
      return Float64Array.from(new Uint16Array(bytes), halfToNumber);
  }
}

/** A number from its bits in IEEE 754 binary16. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}
