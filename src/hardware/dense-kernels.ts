import { bitsOf, type Dtype } from './dtype.js';
import type { Gpu } from './gpu.js';

/**
 * Shares of the datasheet that large products reach, and what a call takes besides. Fitted to 110 products of
 * DeepGEMM in fp8 on an H800 (alibaba/InferSim, bench_data/gemm): median of the absolute error 7 %, mean 14 %, most of
 * it from products of many small matrices; 402 products on an H20 take 0.76 of the time that these shares say in the
 * middle, since a GPU of few FLOP gets nearer to them.
 */
const PRODUCT = { compute: 0.7, memory: 0.8, seconds: 8e-6, exponent: 4 } as const;

/**
 * Shares of bf16 rate and memory bandwidth that attention reaches: FlashMLA says 660 TFLOP/s and 3,000 GB/s of an
 * H800's 989 and 3,350 in decode; prefill is assumed (FlashAttention-3, arXiv 2407.08608, Fig. 5 has causal
 * kernels at 0.5 to 0.65).
 */
const ATTENTION = { prefill: 0.6, decode: 0.67, memory: 0.9, seconds: 8e-6 } as const;

/**
 * Seconds of a product of m rows with k × n weights, which are read once; results are in 16 bits.
 * @param matrices independent products of this size in one call, each with its own m rows
 */
export function productSeconds(
  gpu: Gpu,
  m: number,
  k: number,
  n: number,
  dtype: Dtype,
  matrices = 1,
): number {
  if (m === 0) return 0;
  const rate = bitsOf(dtype) === 8 && gpu.fp8Flops !== null ? gpu.fp8Flops : gpu.bf16Flops;
  const compute = (matrices * 2 * m * k * n) / (PRODUCT.compute * rate);
  const bytes = matrices * (((k * n + m * k) * bitsOf(dtype)) / 8 + 2 * m * n);
  const memory = bytes / (PRODUCT.memory * gpu.memoryBandwidth);
  const { exponent: q } = PRODUCT;
  return PRODUCT.seconds + (compute ** q + memory ** q) ** (1 / q);
}

/**
 * Seconds of the core of attention: products with keys and values, which are read.
 * @param flop of all its heads
 * @param bytes of keys and values
 */
export function attentionSeconds(gpu: Gpu, phase: 'prefill' | 'decode', flop: number, bytes: number): number {
  if (flop === 0) return 0;
  const compute = flop / (ATTENTION[phase] * gpu.bf16Flops);
  return ATTENTION.seconds + Math.max(compute, bytes / (ATTENTION.memory * gpu.memoryBandwidth));
}
