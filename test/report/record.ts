import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { policyLabel } from '../../src/balancing/index.js';
import { openScenario, runOpened } from '../../src/run.js';
import { Recorder, type Recording, type Result } from '../../src/simulation/index.js';

/** A run with what its pictures are drawn from. */
export interface Recorded {
  result: Result;
  latencies: Float64Array[];
  recording: Recording;
  labels: string[];
}

/** Runs a scenario and records steps of it. @param choose steps of how many; default: the last */
export async function record(
  scenario: unknown,
  { choose = (steps: number) => [steps - 1], mostEvents = Infinity, file = 'scenario.json' } = {},
): Promise<Recorded> {
  const opened = await openScenario(scenario, { file });
  const { source } = opened.resolved;
  const recorder = new Recorder({
    layers: source.layerIds,
    gpus: source.gpus,
    steps: choose(source.steps),
    mostEvents,
  });
  const { result, latencies } = runOpened(opened, undefined, {
    onLayer: recorder.onLayer,
    onHead: recorder.onHead,
  });
  const labels = result.policies.map(({ policy }) => policyLabel(policy));
  return { result, latencies, recording: recorder.recording(), labels };
}

export const allSteps = (steps: number) => Array.from({ length: steps }, (_, step) => step);

/** The scenario of test/golden, which is worked out on paper there. */
export const handFile = fileURLToPath(new URL('../golden/hand-scenario.json', import.meta.url));
export const byHand = () => JSON.parse(readFileSync(handFile, 'utf8')) as unknown;
