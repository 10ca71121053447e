import { bindGroup } from './bind.js';
import type { Gpu } from './gpu.js';
import { fillKernel } from './kernels/fill.js';
import { foldedWorkgroups, LANES } from './kernels/kernel.js';
import { bytesOf, bytesPerElement, type RandomSpec } from './plan.js';
import { randomElement } from './random-values.js';

/** Writes a buffer's random elements on the side where its memory is; a buffer of the host must be mapped. */
export function fillBuffer(gpu: Gpu, buffer: GPUBuffer, spec: RandomSpec, seed: number): void {
  if (spec.onHost) fillOnHost(buffer, spec, seed);
  else fillOnDevice(gpu, buffer, spec, seed);
}

function fillOnHost(buffer: GPUBuffer, { content, elements }: RandomSpec, seed: number): void {
  const element = randomElement('fp32', seed, content.scale);
  const values = new Float32Array(buffer.getMappedRange());
  for (let i = 0; i < elements; i++) values[i] = element(i);
  buffer.unmap();
}

function fillOnDevice(gpu: Gpu, buffer: GPUBuffer, spec: RandomSpec, seed: number): void {
  const { device, usage } = gpu;
  const draw = device.createBuffer({ size: 8, usage: usage.UNIFORM | usage.COPY_DST });
  device.queue.writeBuffer(draw, 0, Uint32Array.of(seed));
  device.queue.writeBuffer(draw, 4, Float32Array.of(spec.content.scale));
  const pipeline = gpu.pipeline(fillKernel(spec.type));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup(gpu, pipeline, [buffer, draw]));
  pass.dispatchWorkgroups(...foldedWorkgroups(Math.ceil(bytesOf(spec) / bytesPerElement(spec.type) / LANES)));
  pass.end();
  device.queue.submit([encoder.finish()]);
}
