import { enables, storedType, widthOf, type Kernel, type ShaderDtype } from './kernel.js';

/** Columns of a tile. */
export const TILE_COLUMNS = 64;

/** Inner elements that a step of a tile loads. */
const TILE_INNER = 16;

/** Rows of a tile: few where experts have few, or most of the arithmetic would be of rows that are not there. */
export type TileRows = 16 | 64;

/**
 * One product per expert: rows × inner by the expert's inner × columns. One workgroup makes one tile of
 * `rows` × 64 results; y is the place in the list of tiles, x the block of columns. Sums are 32 bits wide.
 *
 * Overrides: inner, columns. Bindings: input [row][inner], weights [expert][inner][column], tiles (expert,
 * first row, rows, 0), output [row][column].
 *
 * @param columns decides how wide weights are loaded
 */
export function groupedGemmKernel(dtype: ShaderDtype, rows: TileRows, columns: number): Kernel {
  const width = widthOf(columns);
  const scalar = storedType(dtype, 1);
  const perLane = rows / 16;
  // One inner element more than is used keeps lanes that read neighbouring rows on different banks
  const stride = TILE_INNER + 1;
  return {
    name: `WGSL grouped GEMM, tiles ${rows} x ${TILE_COLUMNS}, ${dtype}, fp32 sums`,
    code: `${enables(dtype)}
override inner: u32;
override columns: u32;
@group(0) @binding(0) var<storage, read> input: array<${scalar}>;
@group(0) @binding(1) var<storage, read> weights: array<${storedType(dtype, width)}>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> output: array<${scalar}>;

var<workgroup> inputTile: array<f32, ${rows * stride}>;
var<workgroup> weightTile: array<vec4<f32>, ${(TILE_INNER * TILE_COLUMNS) / 4}>;

fn fourWeights(row: u32, column: u32) -> vec4<f32> {
${
  width === 4
    ? `
  if (column >= columns) { return vec4<f32>(); }
  return vec4<f32>(weights[(row * columns + column) / 4u]);`
    : `
  var four = vec4<f32>();
  for (var i = 0u; i < min(4u, columns - min(column, columns)); i++) {
    four[i] = f32(weights[row * columns + column + i]);
  }
  return four;`
}
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.y];
  let column = group.x * ${TILE_COLUMNS}u + (lane % 16u) * 4u;
  let row = (lane / 16u) * ${perLane}u;
  let place = lane % 16u;
  var sums: array<vec4<f32>, ${perLane}>;

  for (var start = 0u; start < inner; start += ${TILE_INNER}u) {
    for (var i = lane / 16u; i < ${rows}u; i += 16u) {
      var value = 0.0f;
      if (i < tile.z && start + place < inner) {
        value = f32(input[(tile.y + i) * inner + start + place]);
      }
      inputTile[i * ${stride}u + place] = value;
    }
    let line = start + lane / 16u;
    var four = vec4<f32>();
    if (line < inner) { four = fourWeights(tile.x * inner + line, column); }
    weightTile[lane] = four;
    workgroupBarrier();
    for (var k = 0u; k < ${TILE_INNER}u; k++) {
      let w = weightTile[k * 16u + place];
      for (var i = 0u; i < ${perLane}u; i++) {
        sums[i] += inputTile[(row + i) * ${stride}u + k] * w;
      }
    }
    workgroupBarrier();
  }

  for (var i = 0u; i < ${perLane}u; i++) {
    if (row + i >= tile.z) { break; }
    for (var j = 0u; j < 4u; j++) {
      if (column + j < columns) {
        output[(tile.y + row + i) * columns + column + j] = ${scalar}(sums[i][j]);
      }
    }
  }
}
`,
  };
}
