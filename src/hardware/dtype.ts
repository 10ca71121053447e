/** Bits per element, with block scales where a format has them. */
const BITS = {
  fp32: 32,
  bf16: 16,
  fp16: 16,
  fp8: 8,
  int8: 8,
  nvfp4: 4.5,
  mxfp4: 4.25,
  int4: 4,
} as const;

/** A number format of weights or activations. */
export type Dtype = keyof typeof BITS;

export const DTYPES = Object.keys(BITS) as [Dtype, ...Dtype[]];

/** Bits that one element takes. */
export function bitsOf(dtype: Dtype): number {
  return BITS[dtype];
}
