import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { KeptSteps } from '../../src/routing/index.js';
import { openScenario, runOpened } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { KeptRuns, Recorder, simulateScenario } from '../../src/simulation/index.js';
import { scenarioArbitrary, trainingArbitrary } from './random-scenario.js';

/** The same scenario with its policies as they are, without one, turned around, and as they are again. */
function variants(scenario: ScenarioInput): ScenarioInput[] {
  const { policies } = scenario;
  const lists = [policies, policies.slice(1), [...policies].reverse(), policies];
  return lists.map((list) => ({ ...scenario, policies: list.length === 0 ? ['ep'] : list }));
}

/** What a watched run gives, as bytes. */
async function watched(
  scenario: ScenarioInput,
  mostEvents: number,
  sources?: KeptSteps,
  runs?: KeptRuns,
): Promise<string> {
  const { resolved, scenario: parsed } = await openScenario(scenario, { sources });
  const { source } = resolved;
  const steps = [source.steps - 1];
  const watcher = new Recorder({ layers: source.layerIds, gpus: source.gpus, steps, mostEvents });
  const { onLayer, onHead } = watcher;
  const kept = runs && { runs, watcher };
  const { result } = simulateScenario(
    parsed,
    resolved,
    { version: '', inputs: '' },
    { onLayer, onHead },
    kept,
  );
  return JSON.stringify([result, watcher.recording()]);
}

const scenario = (policies: ScenarioInput['policies']): ScenarioInput => ({
  model: { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2 },
  cluster: { gpu: 'h100', gpus: 4 },
  workload: { phase: 'decode', tokensPerGpu: 8, steps: 3, routing: { kind: 'zipf', exponent: 1 } },
  policies,
});

const llep = (alpha: number) => ({ kind: 'llep' as const, alpha });

describe('kept runs', () => {
  test.prop([scenarioArbitrary, fc.constantFrom(50, 200, 1000, 1e6)], { numRuns: 80 })(
    'give the bytes of runs that are not kept, of results and of recordings, where these are cut short too',
    async (random, most) => {
      const [sources, runs] = [new KeptSteps(1e8), new KeptRuns(1e8)];
      for (const variant of variants(random)) {
        expect(await watched(variant, most, sources, runs)).toBe(await watched(variant, most));
      }
    },
  );

  test.prop([trainingArbitrary], { numRuns: 25 })('do so in training', async (random) => {
    const [sources, runs] = [new KeptSteps(1e8), new KeptRuns(1e8)];
    for (const variant of variants(random)) {
      const kept = runOpened(await openScenario(variant, { sources }), undefined, { kept: runs });
      const { result, latencies } = runOpened(await openScenario(variant));
      expect(JSON.stringify(kept.result)).toBe(JSON.stringify(result));
      expect(kept.latencies).toEqual(latencies);
    }
  });

  /** Steps that runs of these policies simulate, one scenario after another. */
  async function stepsOf(lists: ScenarioInput['policies'][], runs: KeptRuns): Promise<number[]> {
    const sources = new KeptSteps(1e8);
    const counts: number[] = [];
    for (const policies of lists) {
      let steps = 0;
      runOpened(await openScenario(scenario(policies), { sources }), () => steps++, { kept: runs });
      counts.push(steps);
    }
    return counts;
  }

  it('are not run again', async () => {
    const lists = [[llep(1)], [llep(1.5)], [llep(1)], ['ep', llep(1.5), llep(1)]] as const;
    expect(
      await stepsOf(
        lists.map((list) => [...list]),
        new KeptRuns(1e8),
      ),
    ).toEqual([3, 3, 0, 0]);
  });

  it('are given up, those used longest ago first, before they take more than their bytes', async () => {
    // Three runs of some 9 kB: ep, balanced, and one of llep's.
    const lists = [[llep(1)], [llep(1.5)], [llep(1.5)], [llep(1)]];
    expect(await stepsOf(lists, new KeptRuns(32_000))).toEqual([3, 3, 0, 3]);
    expect(await stepsOf(lists, new KeptRuns(0))).toEqual([3, 3, 3, 3]);
  });

  it('are found again over pruned routing', async () => {
    const runs = new KeptRuns(1e8);
    const sources = new KeptSteps(1e8);
    const counts: number[] = [];
    for (const alpha of [1, 1.5, 1]) {
      const { workload, ...rest } = scenario([llep(alpha)]);
      const routing = { kind: 'zipf' as const, exponent: 1, gateWeights: true };
      const pruned = { ...rest, workload: { ...workload, routing, pruning: { kind: 'ratio' as const } } };
      let steps = 0;
      const { result } = runOpened(await openScenario(pruned, { sources }), () => steps++, { kept: runs });
      expect(JSON.stringify(result)).toBe(JSON.stringify(runOpened(await openScenario(pruned)).result));
      counts.push(steps);
    }
    expect(counts).toEqual([3, 3, 0]);
  });

  it('are those of a policy that was given the same calibration', async () => {
    const calibrated = (calibrationShare: number) =>
      ({ kind: 'replicate-quantize', calibrationShare, replicas: 1 }) as const;
    const [sources, runs] = [new KeptSteps(1e8), new KeptRuns(1e8)];
    for (const policies of [['ep' as const], [calibrated(0.1)], [calibrated(0.5)], ['ep' as const]]) {
      const { result } = runOpened(await openScenario(scenario(policies), { sources }), undefined, {
        kept: runs,
      });
      const fresh = runOpened(await openScenario(scenario(policies))).result;
      expect(JSON.stringify(result)).toBe(JSON.stringify(fresh));
    }
  });

  it('serve nobody who would have to see them', async () => {
    const runs = new KeptRuns(1e8);
    const sources = new KeptSteps(1e8);
    runOpened(await openScenario(scenario([llep(1)]), { sources }), undefined, { kept: runs });
    const opened = await openScenario(scenario([llep(1)]), { sources });
    let layers = 0;
    runOpened(opened, undefined, { kept: runs, onLayer: () => layers++ });
    expect(layers).toBe(3 * 3);
    // Nobody watched the runs that are kept.
    const seen = await watched(scenario([llep(1)]), 1e6, sources, runs);
    expect(seen).toBe(await watched(scenario([llep(1)]), 1e6));
  });
});
