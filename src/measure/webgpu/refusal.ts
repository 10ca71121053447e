import type { Case } from '../../calibration/index.js';
import { formatBytes } from '../../report/index.js';
import type { Capabilities } from './gpu.js';
import { MAX_EXPERTS } from './kernels/top-k.js';
import { bytesOf } from './plan.js';
import { planOf, shaderDtypeOf, type PlannedCase } from './plans/index.js';

/** Why a device cannot time a case; null if it can. */
export function refusalOf(wanted: Case, can: Capabilities): string | null {
  switch (wanted.op) {
    case 'launch':
    case 'host-sync':
      return null;
    case 'gemm-beside-copy':
      return 'WebGPU has one queue, on which a product and a copy follow one another: nothing overlaps';
    case 'copy':
      if (wanted.bytes % 4 !== 0) return `WebGPU copies whole words of 4 bytes, not ${wanted.bytes} bytes`;
      break;
    case 'top-k':
      if (wanted.topK > wanted.experts) {
        return `nothing has the ${wanted.topK} largest of ${wanted.experts} scores`;
      }
      if (wanted.experts > MAX_EXPERTS) {
        return `the top-k kernel keeps the scores of ${MAX_EXPERTS} experts at most, not of ${wanted.experts}`;
      }
      break;
    default:
  }
  return formatRefusal(wanted, can) ?? sizeRefusal(wanted, can);
}

function formatRefusal(wanted: PlannedCase, can: Capabilities): string | null {
  const dtype = shaderDtypeOf(wanted);
  if (dtype === null) {
    const formats =
      wanted.op === 'expert-stage'
        ? `${wanted.weightDtype} weights with ${wanted.activationDtype} activations`
        : 'dtype' in wanted
          ? wanted.dtype
          : '';
    return `WGSL computes in fp32 and fp16, one format throughout, not in ${formats}`;
  }
  return dtype === 'fp16' && !can.shaderF16
    ? 'fp16 needs the feature shader-f16, which this adapter lacks'
    : null;
}

function sizeRefusal(wanted: PlannedCase, can: Capabilities): string | null {
  const { buffers, call } = planOf(wanted, shaderDtypeOf(wanted)!);
  const [limit, name] =
    call.kind === 'copy' || can.maxBufferSize < can.maxStorageBufferBindingSize
      ? [can.maxBufferSize, 'maxBufferSize']
      : [can.maxStorageBufferBindingSize, 'maxStorageBufferBindingSize'];
  for (const [buffer, spec] of Object.entries(buffers)) {
    if (bytesOf(spec) > limit) {
      return (
        `the buffer of '${buffer}' would take ${formatBytes(bytesOf(spec))}, ` +
        `and this adapter allows ${formatBytes(limit)} (${name})`
      );
    }
  }
  const most = can.maxComputeWorkgroupsPerDimension;
  const dispatches = call.kind === 'dispatches' ? call.dispatches : [];
  const largest = Math.max(0, ...dispatches.flatMap(({ workgroups }) => workgroups));
  return largest > most
    ? `one dispatch would need ${largest} workgroups along a dimension, and this adapter allows ${most}`
    : null;
}
