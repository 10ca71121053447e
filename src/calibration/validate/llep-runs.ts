import { gpuPresets } from '../../hardware/index.js';
import { parseScenario, resolveScenario, type ScenarioInput } from '../../scenario/index.js';
import { simulate, type PolicyResult } from '../../simulation/index.js';
import { withLlepKernels, type LlepConstants } from '../fit/llep-constants.js';
import type { LlepPoint } from './llep-figures.js';

/** The layer of the batch and threshold ablations. */
export const ABLATION = { hiddenSize: 2048, expertHiddenSize: 2048, experts: 128, topK: 4 };
export const GPT_OSS = { preset: 'gpt-oss-120b', weightDtype: 'bf16' } as const;

export type LlepSetting = Pick<LlepPoint, 'tokensPerGpu' | 'hotExperts' | 'share' | 'imbalanceThreshold'>;

/** EP and LLEP on 8 H200 in one step of the paper's generator; no hot experts: balanced. */
export function epAndLlep(
  { tokensPerGpu, hotExperts, share, imbalanceThreshold }: LlepSetting,
  model: ScenarioInput['model'],
  runtime: ScenarioInput['runtime'] = 'llep-reference',
  kernels?: LlepConstants,
): [PolicyResult, PolicyResult] {
  const routing =
    hotExperts === 0
      ? ({ kind: 'balanced' } as const)
      : ({ kind: 'hot-experts', experts: hotExperts, share, pattern: 'llep' } as const);
  const input: ScenarioInput = {
    model,
    cluster: '8xh200',
    runtime,
    workload: { phase: 'prefill', tokensPerGpu, steps: 1, routing },
    policies: ['ep', { kind: 'llep', imbalanceThreshold }],
  };
  const file = 'validation';
  const resolved = resolveScenario(parseScenario(input, file), file, {});
  if (kernels) {
    const { cluster } = resolved.machine;
    cluster.profile = withLlepKernels(cluster.profile, gpuPresets.h200.bf16Flops, kernels);
  }
  const { policies } = simulate({ ...resolved, resamples: 0 });
  return [policies[0], policies[1]];
}

/** EP and LLEP at a published point, with other constants than the shipped ones where given. */
export function atPoint(point: LlepPoint, constants?: LlepConstants): [PolicyResult, PolicyResult] {
  const model = point.figure === '4' ? GPT_OSS : ABLATION;
  if (constants === undefined) return epAndLlep(point, model);
  const { hostSeconds, planSeconds, planSecondsPerExpert } = constants;
  const runtime = { preset: 'llep-reference', hostSeconds, planSeconds, planSecondsPerExpert } as const;
  return epAndLlep(point, model, runtime, constants);
}

export function speedupOf([ep, llep]: readonly [PolicyResult, PolicyResult]): number {
  return ep.stepLatency.mean / llep.stepLatency.mean;
}
