import { z } from 'zod';
import { addProduct } from '../dense.js';
import { LinearRouter } from '../linear-router.js';
import { taskOnly, type Objective } from './objective.js';

const options = z.strictObject({
  kind: z.literal('simbal'),
  beta: z.number().min(0).default(0.1).describe('Weight of the loss.'),
});

/**
 * β ‖RᵀR − I‖₁ from an orthogonal start (SimBal, 2506.14038): the experts' directions stay orthonormal, whatever the
 * data. Subgradient by R: 2β R sign(RᵀR − I). It leaves no expert unused, but loads are not even.
 */
export const simbal: Objective<z.infer<typeof options>> = {
  kind: 'simbal',
  summary: "orthonormal directions of the experts (SimBal); no use of the batch's loads",
  options,
  notSimulated: [
    'same loss as with a load-balancing loss after 36 % fewer tokens, and less similar experts (arXiv 2506.14038, 627M and 3.1B parameters)',
  ],
  start({ beta }, setting) {
    const { dimension, experts, normal } = setting;
    if (experts > dimension) {
      throw new RangeError(
        `simbal: found ${experts} experts in ${dimension} dimensions, allowed: at most as many experts as dimensions`,
      );
    }
    const router = new LinearRouter(dimension, experts, normal, true);
    return {
      ...taskOnly(setting),
      router,
      add() {
        const difference = router.similarity();
        const loss = difference.reduce((sum, x) => sum + Math.abs(x), 0);
        const signs = difference.map((x) => 2 * beta * Math.sign(x));
        addProduct(router.matrix.values, signs, dimension, experts, experts, router.matrix.gradient);
        return beta * loss;
      },
    };
  },
};
