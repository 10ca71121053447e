import type { Kernel } from './kernel.js';

/** Invocations that share one token. */
const LANES = 64;

/** Experts whose scores fit in the workgroup memory that every device has, beside 64 candidates. */
export const MAX_EXPERTS = (16384 - LANES * 8) / 4;

/**
 * The topK largest scores of every token and the softmax over them; one workgroup per token, one round per
 * choice. Of equal scores the expert with the lower number wins.
 *
 * Overrides: tokens, experts, topK. Bindings: scores [token][expert] (f32), chosen experts [token][k] (u32),
 * gates [token][k] (f32).
 */
export const topKKernel: Kernel = {
  name: 'WGSL top-k and softmax, fp32',
  code: `
override tokens: u32;
override experts: u32;
override topK: u32;
@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(2) var<storage, read_write> gates: array<f32>;

const LOWEST = -3.4028234e38f;
var<workgroup> left: array<f32, experts>;
var<workgroup> bestScore: array<f32, ${LANES}>;
var<workgroup> bestExpert: array<u32, ${LANES}>;

@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let token = group.y * groups.x + group.x;
  if (token >= tokens) { return; }
  for (var e = lane; e < experts; e += ${LANES}u) { left[e] = scores[token * experts + e]; }
  workgroupBarrier();

  var top = 0.0f;
  var sum = 0.0f;
  for (var k = 0u; k < topK; k++) {
    var score = LOWEST;
    var expert = experts;
    for (var e = lane; e < experts; e += ${LANES}u) {
      if (left[e] > score) {
        score = left[e];
        expert = e;
      }
    }
    bestScore[lane] = score;
    bestExpert[lane] = expert;
    workgroupBarrier();
    for (var half = ${LANES / 2}u; half > 0u; half /= 2u) {
      if (lane < half) {
        let other = bestScore[lane + half];
        if (other > bestScore[lane] ||
            (other == bestScore[lane] && bestExpert[lane + half] < bestExpert[lane])) {
          bestScore[lane] = other;
          bestExpert[lane] = bestExpert[lane + half];
        }
      }
      workgroupBarrier();
    }
    if (lane == 0u) {
      if (k == 0u) { top = bestScore[0]; }
      let gate = exp(bestScore[0] - top);
      sum += gate;
      chosen[token * topK + k] = bestExpert[0];
      gates[token * topK + k] = gate;
      left[bestExpert[0]] = LOWEST;
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    for (var k = 0u; k < topK; k++) { gates[token * topK + k] /= sum; }
  }
}
`,
};
