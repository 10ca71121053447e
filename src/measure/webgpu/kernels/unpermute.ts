import {
  computedType,
  enables,
  flatMain,
  storedType,
  type Kernel,
  type ShaderDtype,
  type Width,
} from './kernel.js';

/**
 * The copies of every token, weighted by their gates and summed.
 *
 * Overrides: width (elements of a row, in accesses), topK, total (accesses of the output). Bindings: input
 * [copy in order by expert][width], places (the input row of every (token, k)), gates [token][k], output
 * [token][width].
 */
export function unpermuteKernel(dtype: ShaderDtype, access: Width): Kernel {
  const stored = storedType(dtype, access);
  const computed = computedType(access);
  return {
    name: `WGSL unpermute, ${dtype}, fp32 sums`,
    code: `${enables(dtype)}
override width: u32;
override topK: u32;
override total: u32;
@group(0) @binding(0) var<storage, read> input: array<${stored}>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<${stored}>;
${flatMain(`
  if (index >= total) { return; }
  let copy = (index / width) * topK;
  var sum = ${computed}();
  for (var k = 0u; k < topK; k++) {
    sum += gates[copy + k] * ${computed}(input[places[copy + k] * width + index % width]);
  }
  output[index] = ${stored}(sum);`)}`,
  };
}
