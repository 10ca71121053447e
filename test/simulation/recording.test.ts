import { test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { policyLabel } from '../../src/balancing/index.js';
import { runtimes } from '../../src/execution/index.js';
import { Recorder, type Recording } from '../../src/simulation/index.js';
import { allSteps, byHand, handFile, record } from '../report/record.js';
import { scenarioArbitrary, simulateScenario } from './random-scenario.js';

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

/** All recorded layers of a policy, step after step. */
const layersOf = (recording: Recording, policy: number) =>
  recording.policies[policy].steps.flatMap(({ layers }) => layers);

describe('a recording worked out by hand (test/golden)', () => {
  it('ep: dispatch 6 ms, 243 ms on GPU 0, 199 ms on GPU 1 which then waits 44 ms, combine 6 ms', async () => {
    const { recording } = await record(byHand(), { file: handFile });
    const [{ slices, start, end, memory, links }] = layersOf(recording, 0);
    expect(start).toBe(0);
    expect(end).toBeCloseTo(0.255, 12);
    const bars = slices.map(({ gpu, stream, phase, start, end }) => [
      gpu,
      stream,
      phase,
      Math.round(start * 1e6),
      Math.round(end * 1e6),
    ]);
    expect(bars).toEqual([
      [0, 'network', 'dispatch', 0, 6000],
      [1, 'network', 'dispatch', 0, 6000],
      [0, 'compute', 'experts', 6000, 249000],
      [1, 'compute', 'experts', 6000, 205000],
      [0, 'network', 'combine', 249000, 255000],
      [1, 'network', 'wait', 205000, 249000],
      [1, 'network', 'combine', 249000, 255000],
    ]);
    // The terms of the kernel's form; with exponent 1 product and weights add up.
    expect(slices[2].facts).toEqual({
      copies: 12,
      rows: 12,
      'rows in whole tiles': 12,
      'active experts': 1,
      'launch, s': 0.101,
      'product, s': 0.12,
      'reading weights, s': 0.01,
      'activations, s': 0.012,
      'factor measured for the shape': 1,
    });
    // 6 copies of 200 bytes into GPU 0, 4 into GPU 1, and back.
    expect(links.map(({ gpu, link, bytes }) => [gpu, link, bytes])).toEqual([
      [0, 'NVLink out', 800],
      [1, 'NVLink out', 1200],
      [0, 'NVLink in', 1200],
      [1, 'NVLink in', 800],
      [0, 'NVLink out', 1200],
      [1, 'NVLink out', 800],
      [0, 'NVLink in', 800],
      [1, 'NVLink in', 1200],
    ]);
    // Weights; then tokens and what was received; then what the products need (300 and 200 a row); then what came back.
    const totals = memory.filter(({ gpu }) => gpu === 0).map(({ bytes }) => sum(bytes));
    expect(totals).toEqual([36_400, 42_400, 38_400, 30_000]);
  });

  it('llep: the weights of expert 0 travel from GPU 0 to GPU 1 for 154 ms', async () => {
    const { recording } = await record(byHand(), { file: handFile });
    const [{ moves }] = layersOf(recording, 1);
    expect(moves.map(({ expert, source, destination }) => [expert, source, destination])).toEqual([
      [0, 0, 1],
    ]);
    expect(moves[0].end - moves[0].start).toBeCloseTo(0.154, 12);
  });

  it('loads and traffic per step', async () => {
    const { recording } = await record(byHand(), { file: handFile });
    expect(recording.homeLoads).toEqual([[12, 8]]);
    expect(recording.policies[0].loads).toEqual([[12, 8]]);
    expect(recording.policies[1].loads).toEqual([[10, 10]]);
    expect(recording.policies[0].traffic).toEqual([
      [6, 4],
      [6, 4],
    ]);
  });
});

describe('any recording', () => {
  test.prop([scenarioArbitrary], { numRuns: 25 })('agrees with the result of its run', async (scenario) => {
    const { gpus } = scenario.cluster as { gpus: number };
    const { steps, layer } = scenario.workload;
    const layers = layer === 'all' || scenario.scope === 'model' ? [0, 1] : [0];
    const recorder = new Recorder({ layers, gpus, steps: allSteps(steps!), mostEvents: Infinity });
    const placements = new Map<unknown, Set<unknown>>();
    const {
      policies: results,
      routing,
      latencies,
    } = await simulateScenario(scenario, (run, base, seconds, at) => {
      const known = placements.get(run.options) ?? new Set();
      placements.set(run.options, known.add(run.plan!.placement));
      recorder.onLayer(run, base, seconds, at);
    });
    const recording = recorder.recording();
    results.forEach((result, i) => {
      const recorded = recording.policies[i];
      const counted = recorded.steps.slice(-routing.steps).flatMap((step) => step.layers);
      const shown = sum(counted.map(({ start, end }) => end - start));
      const seconds = sum([...latencies[i]]);
      // The head, after the last layer of scope `model`, is not a layer.
      const all = recording.leftOut === null && scenario.scope !== 'model';
      if (all) expect(shown).toBeCloseTo(seconds, 9);
      else expect(shown).toBeLessThan(seconds + 1e-9);
      const perLayer = result.copies.routed - result.copies.dropped;
      expect(sum(recorded.loads.flat()) * routing.steps).toBeCloseTo(perLayer, 6);
      for (let gpu = 0; gpu < gpus; gpu++) {
        const samples = counted.flatMap(({ memory }) => memory.filter((sample) => sample.gpu === gpu));
        const peak = Math.max(...samples.map(({ bytes }) => sum(bytes)));
        expect(peak).toBeLessThanOrEqual(result.peakMemory.perGpu[gpu]);
        // What a change of placement needs on the way is not recorded.
        if (all && placements.get(result.policy)!.size === 1)
          expect(peak).toBe(result.peakMemory.perGpu[gpu]);
      }
      for (const { slices, links, memory, start, end } of counted) {
        for (const { bytes } of memory) expect(Math.min(...bytes)).toBeGreaterThanOrEqual(0);
        expect(sum(links.map(({ link, bytes }) => (link.endsWith('out') ? bytes : -bytes)))).toBeCloseTo(
          0,
          3,
        );
        const onStream = new Map<string, number>();
        for (const slice of [...slices].sort((a, b) => a.start - b.start || a.end - b.end)) {
          const stream = `${slice.gpu} ${slice.stream}`;
          expect(slice.start).toBeGreaterThanOrEqual((onStream.get(stream) ?? start) - 1e-12);
          expect(slice.end).toBeLessThanOrEqual(end + 1e-12);
          onStream.set(stream, slice.end);
        }
      }
    });
  });

  it('leaves out whole layers above its cap, for all policies alike, and says so', async () => {
    const scenario = byHand();
    const { recording } = await record(scenario, { choose: allSteps, mostEvents: 10, file: handFile });
    expect(recording.policies.map(({ steps }) => steps.length)).toEqual([1, 1, 1, 1, 1]);
    expect(recording.leftOut).toMatch(/^1 further layers of the chosen steps/);
  });
});

describe('every runtime', () => {
  const movers = [
    'ep',
    'llep',
    { kind: 'eplb', movement: 'async', history: { kind: 'window', interval: 3, first: 1 } },
  ];
  it.each(runtimes.map(({ name }) => name))(
    '%s names the streams of its GPUs, each name once',
    async (runtime) => {
      const names = new Map<string, number>();
      await simulateScenario(
        {
          model: { hiddenSize: 512, expertHiddenSize: 256, experts: 8, topK: 2, moeLayers: 2 },
          cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 2 },
          runtime: runtime,
          workload: { phase: 'prefill', tokensPerGpu: 64, steps: 4, routing: { kind: 'zipf', exponent: 1 } },
          policies: movers as never,
        },
        ({ program, options, ledger }) => {
          const { graph } = program.executor;
          expect(graph.streamOwners.every((gpu) => gpu >= 0 && gpu < 4)).toBe(true);
          expect(graph.streamNames.every((name) => name !== '')).toBe(true);
          const distinct = new Set(
            graph.streamNames.map((name, stream) => `${graph.streamOwners[stream]} ${name}`),
          );
          expect(distinct.size).toBe(graph.streams);
          names.set(policyLabel(options), distinct.size);
          // A task on one stream allocates and frees on that stream's GPU.
          for (let task = 0; task < graph.tasks; task++) {
            const first = graph.streamFirst[task];
            if (graph.streamFirst[task + 1] !== first + 1) continue;
            for (let i = graph.allocationFirst[task]; i < graph.allocationFirst[task + 1]; i++) {
              const account = graph.accounts[graph.allocations[i]];
              expect(Math.floor(account / ledger.categories)).toBe(
                graph.streamOwners[graph.streamsOf[first]],
              );
            }
          }
        },
      );
      expect(names.size).toBe(4);
    },
  );
});
