import { max, mean } from 'd3-array';
import { parseScenario, resolveScenario, type ScenarioInput } from '../../scenario/index.js';
import { simulate, type PolicyResult } from '../../simulation/index.js';
import type { Gate } from './gate.js';
import { LLEP_BALANCED_SPEEDUP, LLEP_PEAKS, LLEP_POINTS, type LlepPoint } from './llep-figures.js';

/** The layer of the batch and threshold ablations. */
const ABLATION = { hiddenSize: 2048, expertHiddenSize: 2048, experts: 128, topK: 4 };
const GPT_OSS = { preset: 'gpt-oss-120b', weightDtype: 'bf16' } as const;
const GIB = 2 ** 30;

type Setting = Pick<LlepPoint, 'tokensPerGpu' | 'hotExperts' | 'share' | 'imbalanceThreshold'>;

/** EP and LLEP in one step of the paper's generator; no hot experts: balanced. */
function epAndLlep(
  { tokensPerGpu, hotExperts, share, imbalanceThreshold }: Setting,
  model: ScenarioInput['model'],
  runtime: 'llep-reference' | 'llep-engineered' = 'llep-reference',
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
  const { policies } = simulate({ ...resolved, resamples: 0 });
  return [policies[0], policies[1]];
}

function speedupOf([ep, llep]: [PolicyResult, PolicyResult]): number {
  return ep.stepLatency.mean / llep.stepLatency.mean;
}

/** The paper's speed-ups: Fig. 4, the batch ablation, the threshold table. */
export function llepPaperGates(): Gate[] {
  const simulated = LLEP_POINTS.map((point) => {
    const results = epAndLlep(point, point.figure === '4' ? GPT_OSS : ABLATION);
    return { point, speedup: speedupOf(results), gated: (results[1].gatedLayers ?? 0) > 0 };
  });
  const errors = (figure: LlepPoint['figure']) =>
    simulated
      .filter(({ point }) => point.figure === figure)
      .map(({ point, speedup }) => 100 * Math.abs(speedup / point.speedup - 1));
  const line = (name: string, own: readonly number[], allowed: [number, number]): Gate[] => [
    gate(name, own.length, 'MAPE', mean(own)!, allowed[0]),
    gate(name, own.length, 'largest error', max(own)!, allowed[1]),
  ];
  const balanced = speedupOf(
    epAndLlep({ tokensPerGpu: 32768, hotExperts: 0, share: 0, imbalanceThreshold: 1.3 }, GPT_OSS),
  );
  const table = simulated.filter(({ point }) => point.figure === '7a');
  // Above 1 at 15 and 20 %, the published ratio shows that EP ran.
  const wrongSide = table.filter(
    ({ point, gated }) => gated !== (point.share <= 0.2 && point.speedup > 1),
  ).length;
  const small = simulated.filter(({ point }) => point.figure === '6a' && point.tokensPerGpu <= 8192);
  const wrongSign = [...small, ...table].filter(
    ({ point, speedup }) => Math.abs(point.speedup - 1) > 0.02 && speedup < 1 !== point.speedup < 1,
  ).length;
  return [
    ...line('gpt-oss-120b speed-ups (Fig. 4)', errors('4'), [5, 15]),
    gate('gpt-oss-120b balanced', 1, 'error', 100 * Math.abs(balanced / LLEP_BALANCED_SPEEDUP - 1), null),
    ...line('batch ablation (Fig. 6a)', errors('6a'), [5, 15]),
    {
      ...gate('λ table (Fig. 7a): EP or LLEP runs', table.length, 'wrong side', wrongSide, 0),
      unit: 'wrong',
    },
    {
      ...gate('LLEP slower than EP where published', small.length + table.length, 'wrong sign', wrongSign, 0),
      unit: 'wrong',
    },
    gate('λ table speed-ups (Fig. 7a)', table.length, 'MAPE', mean(errors('7a'))!, null),
  ];
}

function gate(name: string, points: number, measure: string, error: number, allowed: number | null): Gate {
  return { suite: 'llep-paper', name, points, measure, error, allowed, unit: '%', basis: 'fit' };
}

/** The paper's peaks of memory on gpt-oss-120b. */
export function memoryGates(): Gate[] {
  const off = LLEP_PEAKS.map(({ hotExperts, share, ep, llep }) => {
    const results = epAndLlep({ tokensPerGpu: 32768, hotExperts, share, imbalanceThreshold: 1.3 }, GPT_OSS);
    const [epPeak, llepPeak] = results.map(({ peakMemory }) => peakMemory.max / GIB);
    return { ep: Math.abs(epPeak - ep), llep: Math.abs(llepPeak - llep) };
  });
  const line = (name: string, error: number, allowed: number): Gate => ({
    suite: 'memory',
    name,
    points: off.length,
    measure: 'largest error',
    error,
    allowed,
    unit: 'GiB',
    basis: 'fit',
  });
  return [
    line(
      'EP peaks, gpt-oss-120b (Fig. 4)',
      max(off, ({ ep }) => ep)!,
      0.2,
    ),
    line(
      'LLEP peaks, gpt-oss-120b (Fig. 4)',
      max(off, ({ llep }) => llep)!,
      0.5,
    ),
  ];
}

/** Fewest tokens per GPU from which LLEP beats EP on the ablation's layer with half the tokens on 4 experts. */
export function breakEvenTokens(runtime: 'llep-reference' | 'llep-engineered'): number {
  const wins = (tokensPerGpu: number) =>
    speedupOf(
      epAndLlep({ tokensPerGpu, hotExperts: 4, share: 0.5, imbalanceThreshold: 1.3 }, ABLATION, runtime),
    ) > 1;
  let low = 1;
  let high = 65536;
  if (!wins(high)) return Infinity;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (wins(middle)) high = middle;
    else low = middle;
  }
  return high;
}
