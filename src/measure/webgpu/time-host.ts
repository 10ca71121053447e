import type { Timed } from '../../calibration/index.js';
import type { Effort } from '../backend.js';
import type { Gpu } from './gpu.js';
import { emptyKernel } from './kernels/empty.js';
import { summarise } from './sample.js';

/** Launches of one submission: programs on WebGPU submit many at once. */
const LAUNCHES = 64;

/** What the host's own times give. */
export type HostTimes = Pick<Timed, 'kernel' | 'seconds' | 'spread' | 'repeats'>;

/** Host time per launch of an empty kernel: recording it, and its part in the submission. */
export async function timeLaunch(gpu: Gpu, effort: Effort): Promise<HostTimes> {
  const { device } = gpu;
  const pipeline = gpu.pipeline(emptyKernel);
  const times = await repeated(effort, async () => {
    const start = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < LAUNCHES; i++) {
      pass.setPipeline(pipeline);
      pass.dispatchWorkgroups(1);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    const seconds = (performance.now() - start) * 1e-3;
    await device.queue.onSubmittedWorkDone();
    return seconds / LAUNCHES;
  });
  return { kernel: `${emptyKernel.name}, ${LAUNCHES} launches per submission`, ...times };
}

/** Host time per blocking read of 4 bytes of the device, its queue being empty. */
export async function timeHostSync(gpu: Gpu, effort: Effort): Promise<HostTimes> {
  const { device, usage } = gpu;
  const value = device.createBuffer({ size: 4, usage: usage.COPY_SRC });
  const readable = device.createBuffer({ size: 4, usage: usage.COPY_DST | usage.MAP_READ });
  const times = await repeated(effort, async () => {
    const start = performance.now();
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(value, 0, readable, 0, 4);
    device.queue.submit([encoder.finish()]);
    await gpu.mapped(readable, (bytes) => new Uint32Array(bytes)[0]);
    return (performance.now() - start) * 1e-3;
  });
  value.destroy();
  readable.destroy();
  return { kernel: 'copy of 4 bytes to a buffer that is mapped', ...times };
}

async function repeated(
  { warmup, repeats }: Effort,
  call: () => Promise<number>,
): Promise<Omit<HostTimes, 'kernel'>> {
  for (let i = 0; i < warmup; i++) await call();
  const samples: number[] = [];
  while (samples.length < repeats) samples.push(await call());
  return summarise(samples);
}
