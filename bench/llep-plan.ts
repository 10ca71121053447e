/** One LLEP plan for given loads, beside a literal port of its description. */
import { LeastLoadedSpill } from '../src/balancing/dispatch/least-loaded-spill.js';
import { contiguous } from '../src/balancing/index.js';
import { addLoads } from '../src/routing/index.js';
import { literalLlep } from '../test/balancing/literal-llep.js';
import { sourceOf } from './given-routing.js';
import { medianSeconds, report } from './measure.js';

const [gpus, experts, target] = process.argv.slice(2).map(Number);
const step = sourceOf(gpus, experts, 1).start().next()!;
const loads = addLoads(step.layers[0].counts, experts, new Float64Array(experts));
const { home } = contiguous(gpus, experts, 16);

const spill = new LeastLoadedSpill(gpus, gpus, experts, {
  alpha: 1,
  minTokensPerGemm: 1024,
  variant: 'code',
  helpers: 'any',
});
const seconds = medianSeconds(() => spill.plan(loads, home), 5000);
const plain = Array.from(loads);
const literal = medianSeconds(() => void literalLlep(plain, gpus, 1, 1024), 200);

report({
  name: `LLEP plan, ${gpus} GPUs × ${experts} experts`,
  value: seconds * 1e6,
  unit: 'µs',
  target: { value: target, better: 'less' },
  yardstick: `literal port: ${(literal * 1e6).toFixed(0)} µs (${spill.transfers.count} transfers)`,
});
