import { enables, flatMain, storedType, type Kernel, type ShaderDtype, type Width } from './kernel.js';

/**
 * Rows of copies in their order by expert.
 *
 * Overrides: width (elements of a row, in accesses), total (accesses of the output). Bindings: input
 * [token][width], sources (the token of every output row), output [copy][width].
 */
export function permuteKernel(dtype: ShaderDtype, access: Width): Kernel {
  const stored = storedType(dtype, access);
  return {
    name: `WGSL permute, ${dtype}`,
    code: `${enables(dtype)}
override width: u32;
override total: u32;
@group(0) @binding(0) var<storage, read> input: array<${stored}>;
@group(0) @binding(1) var<storage, read> sources: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<${stored}>;
${flatMain(`
  if (index >= total) { return; }
  output[index] = input[sources[index / width] * width + index % width];`)}`,
  };
}
