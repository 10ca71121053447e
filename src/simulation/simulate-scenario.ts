import type { ResolvedScenario, Scenario } from '../scenario/index.js';
import type { KeptRuns, Watcher } from './kept-runs.js';
import type { Result } from './result.js';
import { simulateFaults } from './faults/index.js';
import { offloadOf, simulateOffload } from './offload-run.js';
import { simulate } from './simulate.js';
import type { SimulationSpec } from './simulation-spec.js';

/**
 * Simulates a scenario whose files are open, and says what was simulated.
 * @param by version of epsim, and the hash of everything that the result depends on
 * @param watch called as by `simulate`
 * @param kept runs of scenarios whose files are the same, and who watches and can be told of them; as `simulate` has it
 * @returns the result, and the seconds of every counted (step, layer) by policy
 * @throws RefusalError
 */
export function simulateScenario(
  scenario: Scenario,
  resolved: ResolvedScenario,
  by: Pick<Result, 'version' | 'inputs'>,
  watch: Pick<SimulationSpec, 'onStep' | 'onLayer' | 'onHead'>,
  kept?: { runs: KeptRuns; watcher?: Watcher },
): { result: Result; latencies: Float64Array[] } {
  const { machine, runtime, faults } = resolved;
  const { cluster, shape } = machine;
  const offload = offloadOf(resolved);
  const spec: SimulationSpec = { ...resolved, ...watch };
  // With faults a run is several, each on a cluster of its own.
  if (kept && faults.length === 0) spec.kept = { ...kept, scenario: withoutPolicies(scenario) };
  const broken = faults.length === 0 ? null : simulateFaults(spec, faults);
  const { routing, latencies, ...simulated } = broken ?? simulate(spec);
  const result: Result = {
    schema: 'epsim/result@1',
    version: by.version,
    inputs: by.inputs,
    scenario: withoutSchema(scenario),
    model: shape.name,
    moeLayers: shape.moeLayers,
    cluster: {
      gpu: cluster.gpu.name,
      gpus: cluster.gpus,
      gpusPerNode: cluster.gpusPerNode,
      fabric: cluster.fabric,
    },
    runtime: runtime.preset,
    profile: { name: cluster.profile.name, status: cluster.profile.status },
    allowedLoss: scenario.allowedLoss,
    routing: { ...routing, notes: [...routing.notes, ...resolved.notes] },
    policies: simulated.policies,
    fastest: simulated.fastest,
    ...(broken === null ? {} : { faults: broken.faults }),
    ...(resolved.precision === null ? {} : { precision: resolved.precision }),
    ...(offload === null ? {} : { offload: simulateOffload(offload) }),
  };
  return { result, latencies };
}

function withoutPolicies({ $schema: _, name: _name, policies: _policies, ...rest }: Scenario): string {
  return JSON.stringify(rest);
}

/** A scenario as it is run and hashed: without what only editors read. */
export function withoutSchema({ $schema: _, ...scenario }: Scenario): object {
  return scenario;
}
