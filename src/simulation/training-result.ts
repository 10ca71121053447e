import { PASSES, PHASES, type Pass, type Phase, type TrainingOptions } from '../execution/index.js';
import type { TrainingResult } from './result.js';
import type { Totals } from './totals.js';
import type { PassBytes, TrainingTotals } from './training-totals.js';

/**
 * Totals with the exchanges, weights and seconds of all passes. Weights gathered within expert-data-parallel groups
 * are not among them: every policy gathers the same.
 */
export function withAllPasses(totals: Totals, trained: TrainingTotals): Totals {
  const { forward, recompute, backward, refreshedBytes, movedBytes } = trained;
  const sum = (of: keyof PassBytes) => forward[of] + recompute[of] + backward[of];
  const phases = new Float64Array(PHASES.length);
  trained.phases.forEach((seconds, label) => (phases[label % PHASES.length] += seconds));
  return {
    ...totals,
    dispatchBytes: sum('dispatch'),
    combineBytes: sum('combine'),
    metadataBytes: sum('metadata'),
    weightBytes: sum('weights') + refreshedBytes + movedBytes,
    phases,
  };
}

/**
 * What a training counted.
 * @param layers of all stages
 */
export function trainingResult(
  { forward, recompute, backward, gradients, ...sums }: TrainingTotals,
  { stages, microBatches }: TrainingOptions,
  layers: number,
): TrainingResult {
  const critical = PASSES.map((pass, at): [Pass, Partial<Record<Phase, number>>] => [
    pass,
    Object.fromEntries(
      PHASES.map((phase, p): [Phase, number] => [
        phase,
        sums.critical[at * PHASES.length + p] / sums.steps,
      ]).filter(([, seconds]) => seconds > 0),
    ),
  ]);
  return {
    stages,
    layersPerStage: layers / stages,
    microBatches,
    critical: Object.fromEntries(critical) as TrainingResult['critical'],
    idle: sums.idle / sums.steps,
    bytes: {
      forward,
      recompute,
      backward,
      gradients,
      refreshed: sums.refreshedBytes,
      gathered: sums.gatheredBytes,
      moved: sums.movedBytes,
    },
  };
}
