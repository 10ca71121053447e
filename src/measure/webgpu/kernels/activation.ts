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
 * SiLU(gate) · up of rows that hold gate and up side by side.
 *
 * Overrides: width (elements of a row of the result, in accesses). Bindings: input [row][gate, up], range
 * (first access and number of accesses of the result), output [row][width].
 */
export function activationKernel(dtype: ShaderDtype, access: Width): Kernel {
  const stored = storedType(dtype, access);
  const computed = computedType(access);
  return {
    name: `WGSL SiLU-mul, ${dtype}`,
    code: `${enables(dtype)}
override width: u32;
@group(0) @binding(0) var<storage, read> input: array<${stored}>;
@group(0) @binding(1) var<storage, read> range: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<${stored}>;
${flatMain(`
  if (index >= range[1]) { return; }
  let at = range[0] + index;
  let row = at / width;
  let column = at % width;
  let gate = ${computed}(input[row * 2u * width + column]);
  let up = ${computed}(input[row * 2u * width + width + column]);
  output[at] = ${stored}(gate / (1.0f + exp(-gate)) * up);`)}`,
  };
}
