import type { Case } from '../../../calibration/index.js';
import type { ShaderDtype } from '../kernels/kernel.js';
import type { Plan } from '../plan.js';
import { activationPlan } from './activation.js';
import { copyPlan } from './copy.js';
import { expertStagePlan } from './expert-stage.js';
import { groupedGemmPlan } from './grouped-gemm.js';
import { permutePlan, unpermutePlan } from './permute.js';
import { topKPlan } from './top-k.js';

/** Cases that a plan describes; the others are timed on the host or not at all. */
export type PlannedCase = Exclude<Case, { op: 'launch' | 'host-sync' | 'gemm-beside-copy' }>;

/** The format of a case's numbers; null: not one that WGSL has. */
export function shaderDtypeOf(wanted: PlannedCase): ShaderDtype | null {
  if (wanted.op === 'top-k' || wanted.op === 'copy') return 'fp32';
  if (wanted.op === 'expert-stage' && wanted.weightDtype !== wanted.activationDtype) return null;
  const dtype = wanted.op === 'expert-stage' ? wanted.weightDtype : wanted.dtype;
  return dtype === 'fp32' || dtype === 'fp16' ? dtype : null;
}

/** What the device does for a case. */
export function planOf(wanted: PlannedCase, dtype: ShaderDtype): Plan {
  switch (wanted.op) {
    case 'expert-stage':
      return expertStagePlan(wanted, dtype);
    case 'grouped-gemm':
      return groupedGemmPlan(wanted, dtype);
    case 'permute':
      return permutePlan(wanted, dtype);
    case 'unpermute':
      return unpermutePlan(wanted, dtype);
    case 'activation':
      return activationPlan(wanted, dtype);
    case 'top-k':
      return topKPlan(wanted);
    case 'copy':
      return copyPlan(wanted);
  }
}
