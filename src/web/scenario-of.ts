import type { ScenarioInput } from '../scenario/index.js';
import {
  expertsPerGpu,
  replicaBitsOf,
  SKEWS,
  type PolicyName,
  type Settings,
  type Skew,
} from './settings.js';

/** The scenario that the settings stand for, as the command line runs it. */
export function scenarioOf(settings: Settings): ScenarioInput {
  const { model, weights, gpu, gpus, runtime, skew, amount, tokens, steps, seed } = settings;
  const of = SKEWS[skew as Skew];
  const replayed = skew === 'trace';
  const routing = replayed
    ? // Not as recorded: the page says how many GPUs there are, and how many tokens each has.
      { kind: 'trace', path: settings.trace, batching: 'shuffled', resample: true }
    : {
        kind: skew,
        ...(of === null ? {} : { [of.option]: amount }),
        ...(skew === 'hot-experts' ? { experts: 1 } : {}),
      };
  return {
    name: 'playground',
    model: { preset: model, ...(weights === 'as shipped' ? {} : { weightDtype: weights }) },
    cluster: { gpu, gpus },
    runtime,
    workload: { phase: 'prefill', tokensPerGpu: tokens, steps, routing, layer: replayed ? 'all' : 0 },
    policies: ['ep', ...settings.policies.map((name) => policyOf(name, settings))],
    seed,
    // Replicates over sequences take seconds; intervals here are of the clock and of paired steps.
    resamples: 0,
  } as ScenarioInput;
}

function policyOf(name: PolicyName, settings: Settings): object {
  const { alpha, m, lambda, factor, replicas, spare, gpus } = settings;
  switch (name) {
    case 'llep':
      return { kind: name, alpha, minTokensPerGemm: m, imbalanceThreshold: lambda };
    case 'replicate-quantize':
      return { kind: name, replicas, bits: replicaBitsOf(settings) };
    case 'capacity':
      return { kind: name, factor };
    case 'eplb':
      return { kind: name, placement: { kind: 'eplb', slots: (expertsPerGpu(settings) + spare) * gpus } };
  }
}
