/** The invariants of docs/architecture.md §6 over random scenarios; each test names its own. */
import { fc, test } from '@fast-check/vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planLayer } from '../../src/balancing/index.js';
import { accountOf, type RuntimeOptions } from '../../src/execution/index.js';
import { writeInPieces } from '../../src/files/index.js';
import { recordTrace } from '../../src/record-trace.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulate } from '../../src/simulation/index.js';
import { scenarioArbitrary, simulateScenario } from './random-scenario.js';

const RUNS = { numRuns: 150 };
const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

/** A runtime without waves and halves: what falls to each is drawn from counts, in the order of GPUs. */
function inOnePiece(runtime: ScenarioInput['runtime']): ScenarioInput['runtime'] {
  if (runtime === undefined) return runtime;
  const options = (typeof runtime === 'string' ? { preset: runtime } : runtime) as RuntimeOptions;
  if (options.preset === 'deepep-low-latency') return { preset: options.preset, maxTokensPerGpu: 1024 };
  if (!('overlap' in options) && !('maxTokensPerWave' in options)) return runtime;
  return options.preset;
}

describe('invariants', () => {
  test.prop([scenarioArbitrary], RUNS)(
    '1 conservation: copies computed + dropped = routed, bytes sent = received',
    async (scenario) => {
      const { policies } = await simulateScenario(scenario, ({ plan, work, ports }, base) => {
        const dropped = plan!.drop ? base.total - sum(plan!.drop.kept) : 0;
        expect(sum(work.copies)).toBeCloseTo(base.total - dropped, 6);
        const gpus = base.gpus;
        const port = (kind: number) => sum(ports.units.subarray(kind * gpus, (kind + 1) * gpus));
        expect(port(0)).toBeCloseTo(port(1), 6);
        expect(port(2)).toBeCloseTo(port(3), 6);
      });
      for (const { copies, loss } of policies) {
        expect(copies.dropped).toBeLessThanOrEqual(copies.routed);
        if (loss) {
          expect(loss.keptCopies + copies.dropped).toBe(copies.routed);
          expect(sum(loss.droppedByExpert)).toBe(copies.dropped);
          expect(sum(loss.droppedByGpu)).toBe(copies.dropped);
        }
      }
    },
  );

  test.prop([scenarioArbitrary], RUNS)(
    '2 causality: tasks start the moment what they wait for has ended',
    async (scenario) => {
      await simulateScenario(scenario, ({ program }, _base, seconds) => {
        const { graph, start, end } = program.executor;
        let last = 0;
        for (let task = 0; task < graph.tasks; task++) {
          let ready = 0;
          for (let i = graph.predecessorFirst[task]; i < graph.predecessorFirst[task + 1]; i++) {
            ready = Math.max(ready, end[graph.predecessors[i]]);
          }
          expect(start[task]).toBe(ready);
          expect(end[task]).toBeGreaterThanOrEqual(start[task]);
          last = Math.max(last, end[task]);
        }
        expect(seconds).toBeGreaterThanOrEqual(last);
      });
    },
  );

  test.prop([scenarioArbitrary], RUNS)(
    'the phases of the critical path sum to the mean latency, which lies in its interval',
    async (scenario) => {
      const { policies } = await simulateScenario(scenario);
      for (const { stepLatency, speedup, time } of policies) {
        const { mean, low, high } = stepLatency;
        expect(sum(Object.values(time.critical))).toBeCloseTo(mean, 12);
        expect(low).toBeLessThanOrEqual(mean);
        expect(high).toBeGreaterThanOrEqual(mean);
        expect(speedup.low).toBeLessThanOrEqual(speedup.mean);
        expect(speedup.high).toBeGreaterThanOrEqual(speedup.mean);
      }
    },
  );

  test.prop([scenarioArbitrary], RUNS)(
    '4 memory: after every layer only what is resident is left',
    async (scenario) => {
      const { policies } = await simulateScenario(scenario, ({ ledger, residency }) => {
        for (let gpu = 0; gpu < ledger.pools; gpu++) {
          const laidOut =
            ledger.usedBy(accountOf(gpu, 'otherWeights')) + ledger.usedBy(accountOf(gpu, 'kvCache'));
          expect(laidOut > 0).toBe(scenario.scope === 'model');
          expect(ledger.totalOf(gpu)).toBe(residency.bytesOn(gpu) + laidOut);
          expect(ledger.peakOf(gpu).bytes).toBeGreaterThanOrEqual(ledger.totalOf(gpu));
        }
      });
      for (const { peakMemory } of policies) {
        expect(peakMemory.max).toBe(Math.max(...peakMemory.perGpu));
        expect(sum(Object.values(peakMemory.byCategory))).toBe(peakMemory.max);
      }
    },
  );

  test.prop([scenarioArbitrary], { numRuns: 40 })(
    '5 determinism: the same scenario gives the same bytes',
    async (scenario) => {
      const [one, two] = [await simulateScenario(scenario), await simulateScenario(scenario)];
      expect(JSON.stringify(one.policies)).toBe(JSON.stringify(two.policies));
    },
  );

  test.prop([scenarioArbitrary], { numRuns: 60 })(
    '5 determinism: a policy’s result does not depend on what runs beside it',
    async (scenario) => {
      fc.pre(
        !scenario.policies.some(
          (policy) => typeof policy !== 'string' && policy.kind === 'replicate-quantize',
        ),
      );
      const together = await simulateScenario({
        ...scenario,
        workload: { ...scenario.workload, warmupSteps: 0 },
      });
      const alone = await simulateScenario({
        ...scenario,
        workload: { ...scenario.workload, warmupSteps: 0 },
        policies: [scenario.policies[0]],
      });
      expect({ ...alone.policies[0], anchor: false }).toEqual({ ...together.policies[0], anchor: false });
    },
  );

  test.prop([scenarioArbitrary], RUNS)(
    '6 exactness: an exact policy drops nothing and lowers no precision',
    async (scenario) => {
      const { policies } = await simulateScenario(scenario);
      for (const { exact, copies, loss } of policies) {
        if (!exact) continue;
        expect(copies.dropped).toBe(0);
        expect(loss).toBeNull();
      }
    },
  );

  test.prop([scenarioArbitrary], { numRuns: 300 })(
    '7 bound: no step ends before its lower bound',
    async (scenario) => {
      await simulateScenario(scenario, ({ lastBound, policy, work }, _base, seconds) => {
        if (!policy.anchor) expect(seconds).toBeGreaterThanOrEqual(lastBound * (1 - 1e-9));
        if (!policy.anchor && work.kept > 0) expect(lastBound).toBeGreaterThan(0);
      });
    },
  );

  test.prop([scenarioArbitrary], RUNS)(
    '8 neutral settings give standard EP’s plan, and its time and memory under ideal',
    async (scenario) => {
      const neutral: ScenarioInput['policies'] = [
        'ep',
        { kind: 'llep', imbalanceThreshold: 1e9 },
        { kind: 'capacity', factor: null },
        { kind: 'replicate-quantize', replicas: 0 },
        'combination',
        { kind: 'ultraep', threshold: 1e9 },
      ];
      const sends: string[] = [];
      const { policies } = await simulateScenario(
        { ...scenario, policies: neutral, runtime: 'ideal' },
        ({ plan, work, policy }) => {
          if (policy.kind === 'balanced') return;
          const { placement, slices, transfers, drop } = plan!;
          expect([slices, transfers, drop]).toEqual([null, null, null]);
          sends.push(
            JSON.stringify([
              [...work.send],
              [...placement.slotExpert],
              [...placement.slotBits],
              [...placement.firstSlot],
            ]),
          );
        },
      );
      for (let i = 0; i < sends.length; i++) expect(sends[i]).toBe(sends[i - (i % neutral.length)]);
      const [ep, ...others] = policies.filter(({ policy }) => policy.kind !== 'balanced');
      for (const other of others) {
        expect(other.stepLatency).toEqual(ep.stepLatency);
        expect(other.peakMemory).toEqual(ep.peakMemory);
        expect(other.bytes).toEqual(ep.bytes);
      }
    },
  );

  test.prop([scenarioArbitrary], { numRuns: 60 })(
    '9 record, then replay: identical policies',
    async (drawn) => {
      // A trace holds what the router chose; what is pruned of it cannot be recorded.
      const { pruning: _, ...workload } = drawn.workload;
      const scenario: ScenarioInput = { ...drawn, workload };
      const folder = mkdtempSync(join(tmpdir(), 'epsim-'));
      try {
        const path = join(folder, 'trace.parquet');
        const opened = await openScenario(scenario);
        await writeInPieces(path, (sink) => recordTrace(opened, sink));
        const candidates = (workload.routing as { kind: string }).kind === 'gate';
        const routing = { kind: 'trace', path, batching: 'recorded', candidates } as const;
        const replay = {
          ...scenario,
          workload: { ...scenario.workload, layer: 'all', routing },
        } as ScenarioInput;
        const [before, after] = [await simulateScenario(scenario), await simulateScenario(replay)];
        expect(JSON.stringify(after.policies)).toBe(JSON.stringify(before.policies));
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  test.prop([scenarioArbitrary, fc.nat()], RUNS)(
    '10 symmetry: renaming GPUs within the cluster’s symmetry changes no latency of a symmetric policy',
    async (scenario, pick) => {
      const { gpus, gpusPerNode } = scenario.cluster as { gpus: number; gpusPerNode: number };
      const { experts } = scenario.model as { experts: number };
      // Turn the nodes, and the GPUs inside every node, by some places: GPU g becomes rename(g).
      const rename = (gpu: number) => {
        const node = (Math.floor(gpu / gpusPerNode) + pick) % (gpus / gpusPerNode);
        return node * gpusPerNode + ((gpu + (pick >> 3)) % gpusPerNode);
      };
      const perGpu = experts / gpus;
      const renameExpert = (expert: number) =>
        rename(Math.floor(expert / perGpu)) * perGpu + (expert % perGpu);
      const { resolved } = await openScenario({
        ...scenario,
        policies: ['ep', 'balanced'],
        runtime: inOnePiece(scenario.runtime),
      });
      const { source, runtime, policies, seed } = resolved;
      // GPUs with more experts than others are not like them.
      fc.pre(experts % gpus === 0);
      // A GPU that is slower than others has no twin.
      const cluster = { ...resolved.machine.cluster, speed: undefined, jitter: undefined };
      // Nor has one whose experts have other bits.
      const machine = { ...resolved.machine, cluster, precision: null };
      /** The source without tokens, which say no more than its counts here, and with other names. */
      const renamed = (gpuOf: (gpu: number) => number, expertOf: (expert: number) => number) => ({
        ...source,
        start() {
          const stream = source.start();
          return {
            next() {
              const step = stream.next();
              if (step === null) return null;
              const layers = step.layers.map((batch) => {
                const counts = new Int32Array(batch.counts.length);
                batch.counts.forEach((copies, cell) => {
                  const target = gpuOf(Math.floor(cell / experts)) * experts + expertOf(cell % experts);
                  counts[target] = copies;
                });
                return { ...batch, counts, tokens: null };
              });
              const tokensBySource = new Int32Array(gpus);
              step.tokensBySource.forEach((tokens, gpu) => (tokensBySource[gpuOf(gpu)] = tokens));
              return { ...step, tokensBySource, layers };
            },
          };
        },
      });
      const latencies = (from: typeof source) =>
        simulate({ machine, runtime, policies, warmup: 0, seed, resamples: 0, source: from }).latencies;
      const same = (number: number) => number;
      const [before, after] = [latencies(renamed(same, same)), latencies(renamed(rename, renameExpert))];
      before.forEach((series, policy) =>
        series.forEach((seconds, i) => expect(Math.abs(after[policy][i] / seconds - 1)).toBeLessThan(1e-9)),
      );
    },
  );

  test.prop(
    [
      fc.constantFrom([2, 8], [4, 16], [8, 32]).chain(([gpus, experts]) =>
        fc.tuple(
          fc.constant(gpus),
          fc.uniqueArray(fc.integer({ min: 1, max: 1_000_000 }), { minLength: experts, maxLength: experts }),
          fc.shuffledSubarray(
            Array.from({ length: gpus }, (_, gpu) => gpu),
            { minLength: gpus, maxLength: gpus },
          ),
        ),
      ),
      fc.constantFrom(1.1, 1.3, 2),
    ],
    { numRuns: 1000 },
  )(
    '10 symmetry: renaming GPUs leaves LLEP’s sorted loads where nothing ties',
    ([gpus, loads, order], alpha) => {
      const perGpu = loads.length / gpus;
      const plan = (given: number[]) =>
        planLayer(
          { kind: 'llep', alpha, minTokensPerGemm: 1, imbalanceThreshold: 0 },
          { gpus, experts: loads.length, loads: given },
        );
      const moved = order.flatMap((gpu) => loads.slice(gpu * perGpu, (gpu + 1) * perGpu));
      const one = plan(loads);
      // Helpers that were filled up to the cap tie; above the cap somebody was forced by a tie's number.
      fc.pre(one.gpuLoads.every((load) => load <= Math.floor(alpha * Math.floor(sum(loads) / gpus))));
      const sorted = (values: number[]) => [...values].sort((a, b) => a - b);
      expect(sorted(plan(moved).gpuLoads)).toEqual(sorted(one.gpuLoads));
    },
  );

  test.prop(
    [
      // Not ascend-default: it weighs its tables against the first one, whose spare slots repeat the first experts.
      fc.constantFrom('eplb', 'eplb-steps', 'tensorrt-llm'),
      fc.constantFrom([2, 8], [4, 16], [8, 32]).chain(([gpus, experts]) =>
        fc.tuple(
          fc.constant(gpus),
          fc.uniqueArray(fc.integer({ min: 1, max: 1_000_000 }), { minLength: experts, maxLength: experts }),
          fc.shuffledSubarray(
            Array.from({ length: gpus }, (_, gpu) => gpu),
            { minLength: gpus, maxLength: gpus },
          ),
        ),
      ),
    ],
    { numRuns: 1000 },
  )(
    '10 symmetry: renaming GPUs leaves the sorted loads of a placement where nothing ties',
    (placement, [gpus, loads, order]) => {
      const perGpu = loads.length / gpus;
      // Loads of GPUs if every instance gets the same share.
      const sorted = (given: number[]) => {
        const { placementByGpu } = planLayer(
          { kind: 'eplb', placement: placement as 'eplb' },
          { gpus, experts: loads.length, loads: given },
        );
        const held = placementByGpu.flat();
        const instances = given.map((_, expert) => held.filter((one) => one === expert).length);
        return placementByGpu
          .map((own) => sum(own.map((expert) => given[expert] / instances[expert])))
          .sort((a, b) => a - b);
      };
      // Shares of different experts that meet while planning must not tie either: then the number decides.
      const shares = loads.flatMap((load) => [1, 2, 3, 4, 5].map((parts) => load / parts));
      fc.pre(new Set(shares).size === shares.length);
      const moved = order.flatMap((gpu) => loads.slice(gpu * perGpu, (gpu + 1) * perGpu));
      const [one, two] = [sorted(loads), sorted(moved)];
      one.forEach((load, i) => expect(Math.abs(load - two[i])).toBeLessThanOrEqual(1e-6 * load));
    },
  );

  it('3 no link above its capacity, ports never above max-min: see test/engine and test/hardware', async () => {
    // A step of the same scenario under both fabrics: the fast form is the lower one.
    const scenario: ScenarioInput = {
      model: 'gpt-oss-20b',
      cluster: '16xh100',
      workload: { phase: 'prefill', tokensPerGpu: 512, steps: 4, routing: { kind: 'zipf', exponent: 1.1 } },
      policies: ['ep'],
    };
    const mean = async (fabric: 'ports' | 'max-min') => {
      const cluster = { gpu: 'h100', gpus: 16, gpusPerNode: 8, fabric } as const;
      return (await simulateScenario({ ...scenario, cluster })).policies[0].stepLatency.mean;
    };
    expect(await mean('ports')).toBeLessThanOrEqual(await mean('max-min'));
  });
});
