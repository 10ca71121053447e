import type { Desk, Ran, Variant } from '../../src/advice/index.js';
import type { PolicyInput } from '../../src/balancing/index.js';
import type { PolicyResult, Result } from '../../src/simulation/index.js';

/** What a case says of a policy; seconds of ep and others are set against each other. */
export interface FakePolicy {
  seconds: number;
  /** Half-width of the interval of its speed-up, as a factor; 1: none. */
  doubt?: number;
  critical?: PolicyResult['time']['critical'];
  waiting?: number;
  waitingFor?: PolicyResult['time']['waitingFor'];
  byCategory?: Partial<PolicyResult['peakMemory']['byCategory']>;
  capacity?: number;
  tokensPerSecondPerGpu?: number;
}

/** A result of policies with made-up figures, the first of them ep, and forced balance last. */
export function fakeResult(
  inputs: readonly PolicyInput[],
  figures: readonly FakePolicy[],
  ties: readonly number[] = [],
  notes: string[] = [],
): Result {
  const policies = inputs.map((input, i) =>
    fakePolicy(typeof input === 'string' ? { kind: input } : input, figures[i], figures[0].seconds),
  );
  const fastest = figures.reduce((best, { seconds }, i) => (seconds < figures[best].seconds ? i : best), 0);
  const balanced = {
    ...fakePolicy({ kind: 'balanced' }, figures[fastest], figures[0].seconds),
    anchor: true,
  };
  return {
    policies: [...policies, balanced],
    fastest: { policy: fastest, ties: [...ties] },
    routing: { steps: 10, layers: [0], tokensPerGpu: 64, notes },
    balance: {
      before: { gpu: { steps: { wastedShare: 0.25 } } },
      policies: policies.map((_, i) => ({ activeInstances: { largest: 10 + i } })),
    },
  } as unknown as Result;
}

function fakePolicy(policy: object, figures: FakePolicy, epSeconds: number): PolicyResult {
  const { seconds, doubt = 1.01, byCategory = {}, tokensPerSecondPerGpu = 1 / seconds } = figures;
  const mean = epSeconds / seconds;
  const max = Object.values(byCategory).reduce((sum, bytes) => sum + bytes, 0);
  const capacity = figures.capacity ?? 80e9;
  return {
    policy,
    anchor: false,
    exact: true,
    oom: null,
    stepLatency: {
      mean: seconds,
      low: seconds / doubt,
      high: seconds * doubt,
      max: seconds,
      effectiveSteps: 10,
    },
    speedup: { mean, low: mean / doubt, high: mean * doubt, sampling: null },
    tokensPerSecondPerGpu,
    imbalance: { gpu: { after: { maxOverMean: 1.1 } } },
    time: {
      critical: figures.critical ?? {},
      waiting: figures.waiting ?? 0,
      waitingFor: figures.waitingFor,
    },
    peakMemory: {
      max,
      byCategory: { weights: 0, replicas: 0, ...byCategory },
      nonTensor: 1e9,
      capacity,
      verdict: max + 1e9 <= capacity ? 'fits' : 'does not fit',
    },
  } as unknown as PolicyResult;
}

/** A desk whose runs a case makes up. */
export function fakeDesk(
  run: (use: 'choose' | 'score', variant: Variant) => Result,
  own: Partial<Desk> = {},
): Desk {
  const ran =
    (use: 'choose' | 'score') =>
    (variant: Variant): Promise<Ran> =>
      Promise.resolve({ result: run(use, variant), command: use });
  return {
    shape: { experts: 8, topK: 2, moeLayers: 10 } as Desk['shape'],
    gpus: 4,
    gpusPerNode: 4,
    layers: 1,
    phase: 'decode',
    tokensPerGpu: 64,
    routing: 'trace',
    scope: 'layer',
    runtime: { preset: 'ideal' },
    listed: [],
    expertBytes: 1e6,
    cacheBytesPerToken: 1e3,
    other: null,
    choose: ran('choose'),
    score: ran('score'),
    scoreOnOther: (policies) => ran('score')({ policies: (offline) => policies(offline, 'map.json') }),
    ...own,
  };
}

/** The history of policies that plan ahead. */
export const offline = { kind: 'calibration', share: 0.5 } as const;
