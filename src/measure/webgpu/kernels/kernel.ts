/** A WGSL program with one entry point, `main`. Equal code is compiled once per set of constants. */
export interface Kernel {
  name: string;
  code: string;
}

/** What the products run in: formats that WGSL has. */
export type ShaderDtype = 'fp32' | 'fp16';

/** Elements that one access takes: 4 where rows are whole fours, so that memory is read in long words. */
export type Width = 1 | 4;

export function widthOf(columns: number): Width {
  return columns % 4 === 0 ? 4 : 1;
}

/** Directives that a program needs for its format. */
export function enables(dtype: ShaderDtype): string {
  return dtype === 'fp16' ? 'enable f16;\n' : '';
}

/** WGSL name of `width` elements as they lie in memory. */
export function storedType(dtype: ShaderDtype, width: Width): string {
  const scalar = dtype === 'fp16' ? 'f16' : 'f32';
  return width === 1 ? scalar : `vec4<${scalar}>`;
}

/** WGSL name of `width` elements as they are computed with: always 32 bits. */
export function computedType(width: Width): string {
  return width === 1 ? 'f32' : 'vec4<f32>';
}

/** Invocations of a workgroup of kernels over flat ranges. */
export const LANES = 256;

/** Every device dispatches at least this many workgroups along one dimension. */
const MAX_ALONG = 65535;

/**
 * Workgroups for `count` of them in one long line, folded because one dimension may be too short; the last
 * fold may have too many, which the kernel leaves idle.
 */
export function foldedWorkgroups(count: number): readonly [x: number, y: number] {
  return count <= MAX_ALONG ? [count, 1] : [MAX_ALONG, Math.ceil(count / MAX_ALONG)];
}

/** WGSL of the entry point of a kernel over a flat range; `index` is the invocation's place in it. */
export function flatMain(body: string): string {
  return `
@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${LANES}u + lane;
${body}
}
`;
}
