import { max, mean } from 'd3-array';
import { fitLlepConstants } from '../fit/llep-constants.js';
import { coverageGate, type Gate } from './gate.js';
import { LLEP_BALANCED_SPEEDUP, LLEP_PEAKS, LLEP_POINTS, type LlepPoint } from './llep-figures.js';
import { ABLATION, atPoint, epAndLlep, GPT_OSS, speedupOf } from './llep-runs.js';

const GIB = 2 ** 30;

/** The paper's speed-ups: Fig. 4, the batch ablation, the threshold table. */
export function llepPaperGates(): Gate[] {
  const simulated = LLEP_POINTS.map((point) => {
    const results = atPoint(point);
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

/** Each of the two figures of speed-ups predicted by constants that were fitted to the other. */
export function leaveOneFigureOutGates(): Gate[] {
  const unseen = [predictFigure('4', '6a'), predictFigure('6a', '4')];
  const lines = unseen.map(({ left, fitted, points }): Gate => {
    const errors = points.map(({ point, speedup }) => 100 * Math.abs(speedup.mean / point.speedup - 1));
    const name = `Fig. ${left} by constants fitted to Fig. ${fitted} alone`;
    return { ...gate(name, errors.length, 'MAPE', mean(errors)!, 10), basis: 'unseen' };
  });
  const all = unseen.flatMap(({ points }) => points);
  const held = all.filter(
    ({ point, speedup: { low, high } }) => low <= point.speedup && point.speedup <= high,
  );
  return [
    ...lines,
    // These intervals hold parts that are assumed or unvalidated, and the profile's range of unequal work is the
    // error of these very points: no test of the intervals.
    {
      ...coverageGate(
        'llep-paper',
        'figures by constants of the other',
        all.length,
        held.length / all.length,
      ),
      allowed: null,
      basis: 'fit',
    },
  ];
}

/** Simulated speed-ups of one figure, by constants that were fitted to another. */
export function predictFigure(left: LlepPoint['figure'], fitted: LlepPoint['figure']) {
  const pointsOf = (figure: LlepPoint['figure']) => LLEP_POINTS.filter((point) => point.figure === figure);
  const others = pointsOf(fitted);
  const constants = fitLlepConstants(
    (tried) => others.map((point) => speedupOf(atPoint(point, tried))),
    others.map(({ speedup }) => speedup),
  );
  const points = pointsOf(left).map((point) => ({ point, speedup: atPoint(point, constants)[1].speedup }));
  return { left, fitted, points };
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
