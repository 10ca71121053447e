/**
 * How the time of a whole simulation, drawing included, grows with GPUs, experts, layers or steps: the exponent
 * between the first and the last size, everything else held. The matrix of counts (GPUs × experts) grows with each
 * to the power of one, that of sends (GPUs × GPUs) to the power of two.
 */
import { policies } from '../src/balancing/index.js';
import { generatorSource, generators } from '../src/routing/index.js';
import { simulate } from '../src/simulation/index.js';
import { machineOf } from './given-routing.js';
import { medianSeconds, report } from './measure.js';

const base = { gpus: 64, experts: 256, layers: 4, steps: 2 };
type Size = typeof base;

const logNormal = generators.find(({ kind }) => kind === 'log-normal')!;
const compared = (['ep', 'llep', 'balanced'] as const).map((kind) => ({
  options: policies.find((policy) => policy.kind === kind)!.options.parse({ kind }),
  anchor: false,
}));

function seconds({ gpus, experts, layers, steps }: Size): number {
  const setting = { gpus, experts, topK: 8, routerGroups: 1, topGroups: 1, tokensPerGpu: 1024 };
  const options = logNormal.options.parse({ kind: 'log-normal', sigma: 1 });
  const layerIds = Array.from({ length: layers }, (_, layer) => layer);
  const run = () =>
    simulate({
      source: generatorSource({ options, setting, layerIds, steps, seed: 1 }),
      policies: compared,
      machine: machineOf(gpus, experts),
      runtime: { preset: 'ideal' },
      seed: 1,
      warmup: 0,
      resamples: 0,
    });
  return medianSeconds(run, 1);
}

const axes: { axis: keyof Size; from: number; most: number }[] = [
  { axis: 'gpus', from: 64, most: 1.3 },
  { axis: 'experts', from: 64, most: 1.1 },
  { axis: 'layers', from: 4, most: 1.1 },
  { axis: 'steps', from: 2, most: 1.1 },
];
const [wanted] = process.argv.slice(2);
for (const { axis, from, most } of axes) {
  if (wanted !== undefined && wanted !== axis) continue;
  const sizes = [1, 2, 4, 8, 16]
    .slice(0, axis === 'gpus' || axis === 'experts' ? 4 : 5)
    .map((factor) => from * factor);
  const fixed = axis === 'gpus' ? { ...base, experts: 512 } : base;
  const times = sizes.map((size) => seconds({ ...fixed, [axis]: size }));
  report({
    name: `time of a simulation against ${axis}: exponent from ${sizes[0]} to ${sizes.at(-1)!}`,
    value: Math.log(times.at(-1)! / times[0]) / Math.log(sizes.at(-1)! / sizes[0]),
    unit: '',
    target: { value: most, better: 'less' },
    yardstick: times.map((time, i) => `${sizes[i]}: ${(1e3 * time).toFixed(0)} ms`).join(', '),
  });
}
