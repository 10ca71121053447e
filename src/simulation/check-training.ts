import { policyLabel, policyOf, traitsOf } from '../balancing/index.js';
import { createRuntime, runtimes, type TrainingOptions } from '../execution/index.js';
import { bitsOf } from '../hardware/index.js';
import { RefusalError } from './refusal-error.js';
import type { SimulationSpec } from './simulation-spec.js';

/**
 * Looks for what can't be trained.
 * @throws RefusalError with the reason
 */
export function checkTraining({
  source,
  policies,
  machine,
  runtime,
  training,
}: Pick<SimulationSpec, 'source' | 'policies' | 'machine' | 'runtime'> & {
  training: TrainingOptions;
}): void {
  if (createRuntime(runtime, machine).stage === undefined) {
    const able = runtimes
      .filter(
        ({ name, options }) => createRuntime(options.parse({ preset: name }), machine).stage !== undefined,
      )
      .map(({ name }) => name);
    throw new RefusalError(
      'runtime',
      `${runtime.preset}, which has no backward pass`,
      `one that trains: ${able.join(', ')}`,
    );
  }
  const { weightDtype } = machine.shape;
  if (bitsOf(weightDtype) !== 16 && weightDtype !== 'fp8') {
    throw new RefusalError(
      'model.weightDtype',
      `${weightDtype}, in which no weights are trained`,
      'bf16, fp16 or fp8 in training (e.g. "model": { "preset": …, "weightDtype": "bf16" })',
    );
  }
  for (const key of ['speed', 'jitter'] as const) {
    const given = machine.cluster[key];
    if (given === undefined || given === 0) continue;
    throw new RefusalError(
      `cluster.${key}`,
      `${JSON.stringify(given)}, which training does not simulate`,
      'nothing in training: all GPUs run as the profile says',
    );
  }
  const { stages, microBatches } = training;
  const layers = source.layerIds.length;
  if (layers % stages !== 0) {
    throw new RefusalError('training.stages', `${stages} for ${layers} MoE layers`, `a divisor of ${layers}`);
  }
  if (source.steps < microBatches) {
    throw new RefusalError(
      'training.microBatches',
      `${microBatches} of a workload of ${source.steps} batches`,
      `at most ${source.steps}, or a workload with more`,
    );
  }
  policies.forEach(({ options }, i) => {
    const refusal = policyOf(options).trainingRefusal(options);
    if (refusal !== null) {
      throw new RefusalError(`policies[${i}].${refusal.option}`, refusal.found, refusal.allowed);
    }
    if (traitsOf(options).movesInBackground) {
      throw new RefusalError(
        `policies[${i}].movement`,
        `${policyLabel(options)}, whose weights travel over several steps, in each of which the optimizer changes them`,
        'blocking or free in training',
      );
    }
  });
}
