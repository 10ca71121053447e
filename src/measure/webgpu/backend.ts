import type { Case, Timed } from '../../calibration/index.js';
import { BackendError, type Backend, type Effort, type OpenDevice } from '../backend.js';
import { Gpu } from './gpu.js';
import { maxError } from './max-error.js';
import { planOf, shaderDtypeOf, type PlannedCase } from './plans/index.js';
import { prepare } from './prepare.js';
import { refusalOf } from './refusal.js';
import { createStopwatch } from './stopwatch.js';
import { timeOnDevice } from './time-device.js';
import { timeHostSync, timeLaunch } from './time-host.js';

/** Inputs in turn take more than this, beyond any cache; emulated devices have the smaller one of a CPU. */
const ROTATE_BYTES = { gpu: 2 ** 28, software: 2 ** 23 };

/** Times kernels written in WGSL on the GPU of this machine, through the optional package webgpu. */
export const webgpuBackend: Backend = {
  name: 'webgpu',
  open: async () => deviceOf(await Gpu.open()),
};

/** A device that is ready to be timed. */
export function deviceOf(gpu: Gpu): OpenDevice {
  const { vendor, architecture, device, description } = gpu.info;
  const kind = gpu.software ? 'software' : 'gpu';
  const stopwatch = createStopwatch(gpu);
  return {
    device: { name: device || description || [vendor, architecture].join(' '), kind },
    software: {
      webgpu: gpu.packageVersion,
      driver: description,
      adapter: [vendor, architecture].join(' ').trim(),
    },
    refusal: (wanted) => refusalOf(wanted, gpu.capabilities),
    time: (wanted, effort) => gpu.guarded(wanted.op, () => timeCase(wanted, effort)),
    close() {
      gpu.close();
      return Promise.resolve();
    },
  };

  async function timeCase(wanted: Case, effort: Effort): Promise<Timed> {
    const refusal = refusalOf(wanted, gpu.capabilities);
    if (refusal !== null) throw new BackendError(`webgpu: ${wanted.op}: ${refusal}`);
    switch (wanted.op) {
      case 'launch':
        return { case: wanted, ...(await timeLaunch(gpu, effort)) };
      case 'host-sync':
        return { case: wanted, ...(await timeHostSync(gpu, effort)) };
      case 'gemm-beside-copy':
        throw new BackendError(`webgpu: ${wanted.op} is always refused`);
      default:
        return timePlanned(wanted, effort);
    }
  }

  async function timePlanned(wanted: PlannedCase, effort: Effort): Promise<Timed> {
    const plan = planOf(wanted, shaderDtypeOf(wanted)!);
    const prepared = await prepare(gpu, wanted.op, plan, ROTATE_BYTES[kind]);
    try {
      const { lastVariant, ...times } = await timeOnDevice(stopwatch, prepared, effort);
      const error = await maxError(gpu, prepared, lastVariant);
      if (!Number.isFinite(error)) {
        throw new BackendError(`webgpu: ${wanted.op}: ${plan.kernel} gave results that are no numbers`);
      }
      return { case: wanted, kernel: plan.kernel + stopwatch.note, ...times, maxError: error };
    } finally {
      prepared.destroy();
    }
  }
}
