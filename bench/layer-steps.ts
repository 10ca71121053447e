/** Layer-steps per second of `ep` through the whole simulation, counts given, runtime ideal, port fabric. */
import { policies } from '../src/balancing/index.js';
import { simulate } from '../src/simulation/index.js';
import { machineOf, sourceOf } from './given-routing.js';
import { medianSeconds, report } from './measure.js';

const [gpus, experts, target] = process.argv.slice(2).map(Number);
const runtimeName = process.argv[5] === 'llep-reference' ? 'llep-reference' : 'ideal';

const steps = Math.min(80_000, Math.round(8e7 / (gpus * experts)));
const source = sourceOf(gpus, experts, steps);
const machine = machineOf(gpus, experts);
const ep = policies[0].options.parse({ kind: 'ep' });
const runtime =
  runtimeName === 'ideal'
    ? ({ preset: 'ideal' } as const)
    : ({
        preset: 'llep-reference',
        residentExperts: 'all',
        chunked: 'as-published',
        hostSeconds: 2.25e-3,
        gateSeconds: 6e-5,
        planSeconds: 2e-4,
        planSecondsPerExpert: 1.8e-5,
        postSecondsPerTransfer: 4e-5,
        distinctTransfers: false,
      } as const);

const run = () =>
  simulate({
    source,
    policies: [{ options: ep, anchor: false }],
    machine,
    runtime,
    seed: 1,
    warmup: 0,
    resamples: 0,
  });
const seconds = medianSeconds(run, 2) / steps;

const stream = source.start();
const { counts } = stream.next()!.layers[0];
const sums = new Float64Array(experts);
const sumColumns = () => {
  for (let i = 0; i < 1000; i++) {
    sums.fill(0);
    for (let row = 0; row < counts.length; row += experts) {
      for (let e = 0; e < experts; e++) sums[e] += counts[row + e];
    }
  }
};
const yardstick = medianSeconds(sumColumns, 5) / 1000;

report({
  name: `EP layer-steps, ${gpus} GPUs × ${experts} experts, ${runtimeName}`,
  value: 1 / seconds,
  unit: '/s',
  target: target > 0 ? { value: target, better: 'more' } : null,
  yardstick: `column sums of the counts alone: ${(1 / yardstick).toFixed(0)}/s`,
});
