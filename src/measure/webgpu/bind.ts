import type { Gpu } from './gpu.js';
import type { Plan } from './plan.js';

/** A dispatch with its pipeline and buffers. */
export interface BoundDispatch {
  pipeline: GPUComputePipeline;
  bindings: GPUBindGroup;
  workgroups: readonly [x: number, y: number];
}

/** The dispatches of a plan on given buffers; none for a copy. */
export function bindDispatches(
  gpu: Gpu,
  { call }: Plan,
  buffer: (name: string) => GPUBuffer,
): BoundDispatch[] {
  if (call.kind === 'copy') return [];
  return call.dispatches.map(({ kernel, constants, bindings, workgroups }) => {
    const pipeline = gpu.pipeline(kernel, constants);
    return { pipeline, bindings: bindGroup(gpu, pipeline, bindings.map(buffer)), workgroups };
  });
}

/** Buffers in the order of a kernel's bindings. */
export function bindGroup(gpu: Gpu, pipeline: GPUComputePipeline, buffers: GPUBuffer[]): GPUBindGroup {
  return gpu.device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
}
