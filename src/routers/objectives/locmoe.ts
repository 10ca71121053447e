import { z } from 'zod';
import { taskOnly, type Objective } from './objective.js';
import { addLoadBalancing } from './switch.js';
import type { Pass } from '../mixture.js';

const options = z.strictObject({
  kind: z.literal('locmoe'),
  alpha: z.number().min(0).default(0.1).describe('Weight of the load-balancing loss; the paper has 0.01.'),
  mu: z.number().min(0).default(1).describe('Weight of the locality loss; the paper gives no number.'),
  delta: z
    .number()
    .gt(0)
    .lt(1)
    .default(1e-3)
    .describe('Share that a local distribution leaves to other nodes.'),
});

/**
 * Load-balancing loss and μ Σ_r KL(D_r ‖ L_r) (LocMoE, 2401.13920): D_r is the mean probability of each expert over the
 * tokens of source node r, L_r has 1 − δ on the node's own experts and δ on the others. Gradient by the scores of a
 * token of r: (μ / T_r) · p_e (h_e − ⟨h, p⟩), with h = ln(D_r / L_r). The paper's own gate has no parameters; here the
 * loss trains the lab's linear router.
 */
export const locmoe: Objective<z.infer<typeof options>> = {
  kind: 'locmoe',
  summary: "load-balancing loss, and experts on the token's own node (LocMoE)",
  options,
  notSimulated: [
    'epochs 22.24 % shorter than with Switch and 12.68 % than with hash routing on 64 Ascend 910A (arXiv 2401.13920)',
  ],
  start({ alpha, mu, delta }, setting) {
    const { experts, nodes } = setting;
    if (experts % nodes !== 0)
      throw new RangeError(
        `locmoe: found ${experts} experts on ${nodes} nodes, allowed: equally many on each`,
      );
    return {
      ...taskOnly(setting),
      add: (pass) => addLoadBalancing(pass, alpha) + addLocality(pass, mu, delta, nodes),
    };
  },
};

function addLocality(pass: Pass, mu: number, delta: number, nodes: number): number {
  const { probabilities, batch, scoresGradient, loads } = pass;
  const experts = loads.length;
  const tokensOf = new Int32Array(nodes);
  const current = new Float64Array(nodes * experts);
  for (let t = 0; t < batch.tokens; t++) {
    const node = batch.nodes[t];
    tokensOf[node]++;
    for (let e = 0; e < experts; e++) current[node * experts + e] += probabilities[t * experts + e];
  }
  const own = experts / nodes;
  const logRatio = new Float64Array(current.length);
  let loss = 0;
  for (let node = 0; node < nodes; node++) {
    if (tokensOf[node] === 0) continue;
    for (let e = 0; e < experts; e++) {
      const i = node * experts + e;
      const isLocal = Math.floor(e / own) === node;
      const local = nodes === 1 ? 1 / experts : isLocal ? (1 - delta) / own : delta / (experts - own);
      current[i] /= tokensOf[node];
      logRatio[i] = Math.log(current[i] / local);
      loss += mu * current[i] * logRatio[i];
    }
  }
  for (let t = 0; t < batch.tokens; t++) {
    const from = batch.nodes[t] * experts;
    const row = t * experts;
    let mean = 0;
    for (let e = 0; e < experts; e++) mean += logRatio[from + e] * probabilities[row + e];
    const scale = mu / tokensOf[batch.nodes[t]];
    for (let e = 0; e < experts; e++)
      scoresGradient[row + e] += scale * probabilities[row + e] * (logRatio[from + e] - mean);
  }
  return loss;
}
