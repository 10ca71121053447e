import { enables, flatMain, storedType, type Kernel, type ShaderDtype } from './kernel.js';

/**
 * Writes the numbers of `randomElement` over a whole buffer; both give the same bits.
 *
 * Bindings: values; a uniform of seed (u32) and scale (f32).
 */
export function fillKernel(dtype: ShaderDtype): Kernel {
  const scalar = storedType(dtype, 1);
  const [dropped, step] = dtype === 'fp16' ? [21, '0x1p-10f'] : [8, '0x1p-23f'];
  return {
    name: `fill ${dtype}`,
    code: `${enables(dtype)}
struct Draw { seed: u32, scale: f32 }
@group(0) @binding(0) var<storage, read_write> values: array<${scalar}>;
@group(0) @binding(1) var<uniform> draw: Draw;

fn mixed(word: u32) -> u32 {
  var h = word;
  h = (h ^ (h >> 16u)) * 0x85ebca6bu;
  h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
  return h ^ (h >> 16u);
}
${flatMain(`
  if (index >= arrayLength(&values)) { return; }
  let bits = mixed(index * 0x9e3779b9u + mixed(draw.seed + 1u));
  values[index] = ${scalar}((f32(bits >> ${dropped}u) * ${step} - 1.0f) * draw.scale);`)}`,
  };
}
