import { Explainer, simulate, withoutSchema, type Explanation } from './simulation/index.js';
import { inFile, type OpenedScenario, type RunOptions } from './run.js';
import { ScenarioError } from './scenario/index.js';
import { VERSION } from './version.js';

/**
 * Runs an opened scenario and says where its time goes. Intervals are left to a run: no replicates are drawn.
 * @throws ScenarioError for a training
 */
export function explainOpened(opened: OpenedScenario, onStep?: RunOptions['onStep']): Explanation {
  const { machine, runtime, source, policies, notes } = opened.resolved;
  const { cluster, shape } = machine;
  const { phase } = opened.scenario.workload;
  if (phase === 'training') {
    throw new ScenarioError(
      opened.file,
      'workload.phase',
      phase,
      'prefill or decode: run shows the parts of a training',
    );
  }
  if (opened.resolved.faults.length > 0) {
    throw new ScenarioError(
      opened.file,
      'cluster.faults',
      'faults',
      'nothing to explain: epsim run shows them',
    );
  }
  if (opened.resolved.offload !== null) {
    throw new ScenarioError(opened.file, 'offload', 'offload', 'nothing to explain: epsim run shows it');
  }
  const explainer = new Explainer(policies, source, machine);
  const { routing } = inFile(opened.file, () =>
    simulate({
      ...opened.resolved,
      policies: explainer.policies,
      resamples: 0,
      onStep,
      onLayer: explainer.onLayer,
      onTasks: explainer.onTasks,
    }),
  );
  return {
    schema: 'epsim/explanation@1',
    version: VERSION,
    inputs: opened.inputs,
    scenario: withoutSchema(opened.scenario),
    model: shape.name,
    scope: opened.scenario.scope,
    runtime: runtime.preset,
    cluster: { gpu: cluster.gpu.name, gpus: cluster.gpus, gpusPerNode: cluster.gpusPerNode },
    steps: routing.steps,
    layers: routing.layers,
    policies: explainer.finish(),
    notes: [...routing.notes, ...notes],
  };
}
