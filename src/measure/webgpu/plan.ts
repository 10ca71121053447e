import type { Kernel } from './kernels/kernel.js';

/** What one element of a buffer is on the device. */
export type ElementType = 'fp32' | 'fp16' | 'u32';

/** A buffer that a case needs. */
export interface BufferSpec {
  elements: number;
  type: ElementType;
  /** Uniform numbers in [−scale, scale), scale a power of two; given words; or what the case writes. */
  content:
    | { kind: 'random'; scale: number }
    | { kind: 'words'; words: Uint32Array<ArrayBuffer> }
    | { kind: 'result' };
  /** Memory of the host, from which the device copies. */
  onHost?: true;
}

/** A buffer of random numbers. */
export type RandomSpec = BufferSpec & {
  type: 'fp32' | 'fp16';
  content: Extract<BufferSpec['content'], { kind: 'random' }>;
};

export function isRandom(spec: BufferSpec): spec is RandomSpec {
  return spec.content.kind === 'random';
}

/** One dispatch of a kernel. */
export interface Dispatch {
  kernel: Kernel;
  /** Values of the kernel's overrides. */
  constants: Record<string, number>;
  /** Names of buffers, in the order of the kernel's bindings. */
  bindings: string[];
  workgroups: readonly [x: number, y: number];
}

/** The numbers that a case starts from, by buffer and index. */
export type Inputs = Record<string, (index: number) => number>;

/** What a result must hold. */
export interface Check {
  /** The buffer of the result, read in rows of `columns` elements of which the last row may be shorter. */
  buffer: string;
  columns: number;
  /** About how many numbers a reference of one row reads. */
  costPerRow: number;
  /** One row in float64. */
  reference(row: number, inputs: Inputs): Float64Array;
}

/** A case as the device takes it: buffers, and what one call does with them. Plain data; opens nothing. */
export interface Plan {
  /** Name of the implementation, for the row. */
  kernel: string;
  buffers: Record<string, BufferSpec>;
  /** In order, each waiting for the one before; or one copy between two buffers of equal size. */
  call: { kind: 'dispatches'; dispatches: Dispatch[] } | { kind: 'copy'; from: string; to: string };
  checks: Check[];
}

const BYTES: Record<ElementType, number> = { fp32: 4, fp16: 2, u32: 4 };

/** Bytes of one element. */
export function bytesPerElement(type: ElementType): number {
  return BYTES[type];
}

/** Bytes of a buffer: whole words, as WebGPU copies no less. */
export function bytesOf({ elements, type }: BufferSpec): number {
  return Math.ceil((elements * BYTES[type]) / 4) * 4;
}

/** Elements that only the case writes. */
export function resultBuffer(elements: number, type: ElementType): BufferSpec {
  return { elements, type, content: { kind: 'result' } };
}

/** Random elements in [−scale, scale). */
export function randomBuffer(elements: number, type: RandomSpec['type'], scale = 1): RandomSpec {
  return { elements, type, content: { kind: 'random', scale } };
}

/** Given words. */
export function wordBuffer(words: Uint32Array<ArrayBuffer>): BufferSpec {
  return { elements: words.length, type: 'u32', content: { kind: 'words', words } };
}
