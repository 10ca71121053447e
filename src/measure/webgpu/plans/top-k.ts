import type { Case } from '../../../calibration/index.js';
import { foldedWorkgroups } from '../kernels/kernel.js';
import { topKKernel } from '../kernels/top-k.js';
import { randomBuffer, resultBuffer, type Inputs, type Plan } from '../plan.js';

/** The largest scores of every token, and the softmax over them. */
export function topKPlan({ tokens, experts, topK }: Extract<Case, { op: 'top-k' }>): Plan {
  const best = (token: number, { scores }: Inputs) =>
    Array.from({ length: experts }, (_, expert) => ({ expert, score: scores(token * experts + expert) }))
      .sort((a, b) => b.score - a.score || a.expert - b.expert)
      .slice(0, topK);
  const costPerRow = experts * Math.ceil(Math.log2(experts + 1));
  return {
    kernel: topKKernel.name,
    buffers: {
      scores: randomBuffer(tokens * experts, 'fp32'),
      chosen: resultBuffer(tokens * topK, 'u32'),
      gates: resultBuffer(tokens * topK, 'fp32'),
    },
    call: {
      kind: 'dispatches',
      dispatches: [
        {
          kernel: topKKernel,
          constants: { tokens, experts, topK },
          bindings: ['scores', 'chosen', 'gates'],
          workgroups: foldedWorkgroups(tokens),
        },
      ],
    },
    checks: [
      {
        buffer: 'chosen',
        columns: topK,
        costPerRow,
        reference: (token, inputs) => Float64Array.from(best(token, inputs), ({ expert }) => expert),
      },
      {
        buffer: 'gates',
        columns: topK,
        costPerRow,
        reference(token, inputs) {
          const exponentials = Float64Array.from(best(token, inputs), ({ score }) => Math.exp(score));
          const sum = exponentials.reduce((a, b) => a + b);
          return exponentials.map((value) => value / sum);
        },
      },
    ],
  };
}
