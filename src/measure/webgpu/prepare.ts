import { BackendError } from '../backend.js';
import { bindDispatches } from './bind.js';
import { fillBuffer } from './fill-buffer.js';
import type { Gpu } from './gpu.js';
import { bytesOf, isRandom, type BufferSpec, type Inputs, type Plan } from './plan.js';
import { randomElement } from './random-values.js';

/** Variants of the inputs at most: what is this small runs from a cache in a model, too. */
const MAX_VARIANTS = 64;

/** A plan on the device: its buffers filled, its kernels compiled. */
export interface Prepared {
  plan: Plan;
  /** Sets of inputs; calls in turn use them in turn. Results are shared, so that calls follow one another. */
  variants: number;
  /** Adds the dispatches of one call on a variant's inputs. */
  dispatch(pass: GPUComputePassEncoder, variant: number): void;
  /** Adds the copy of one call. */
  copy(encoder: GPUCommandEncoder, variant: number): void;
  /** A buffer as a variant sees it. */
  buffer(name: string, variant: number): GPUBuffer;
  /** What a variant started from, made anew on the host. */
  inputs(variant: number): Inputs;
  destroy(): void;
}

/**
 * Puts a plan on the device.
 * @param what subject of error messages
 * @param rotateBytes as many variants of the random inputs as make up these bytes, or as find room
 * @throws BackendError if the device refuses, or the first variant finds no room
 */
export async function prepare(gpu: Gpu, what: string, plan: Plan, rotateBytes: number): Promise<Prepared> {
  const specs = Object.entries(plan.buffers);
  const random = specs.flatMap(([name, spec]) => (isRandom(spec) ? [{ name, spec }] : []));
  const inputBytes = random.reduce((sum, { spec }) => sum + bytesOf(spec), 0);
  const wanted = Math.min(MAX_VARIANTS, Math.max(1, Math.ceil(rotateBytes / inputBytes)));
  // Different for every buffer of every variant
  const seed = (variant: number, place: number) => variant * random.length + place;

  const shared = new Map<string, GPUBuffer>();
  const variants: Map<string, GPUBuffer>[] = [];
  const buffer = (name: string, variant: number) => variants[variant].get(name) ?? shared.get(name)!;
  const destroy = () => [shared, ...variants].forEach(destroyBuffers);

  async function addVariant(): Promise<void> {
    const buffers = new Map<string, GPUBuffer>();
    try {
      await gpu.guarded(what, () => {
        random.forEach(({ name, spec }, place) => {
          buffers.set(name, createBuffer(gpu, spec));
          fillBuffer(gpu, buffers.get(name)!, spec, seed(variants.length, place));
        });
        return gpu.device.queue.onSubmittedWorkDone();
      });
    } catch (error) {
      destroyBuffers(buffers);
      throw error;
    }
    variants.push(buffers);
  }

  try {
    await gpu.guarded(what, () => {
      for (const [name, spec] of specs) if (!isRandom(spec)) shared.set(name, createBuffer(gpu, spec));
    });
    await addVariant();
    while (variants.length < wanted && (await succeeds(addVariant)));
    const bound = await gpu.guarded(what, () =>
      variants.map((_, variant) => bindDispatches(gpu, plan, (name) => buffer(name, variant))),
    );
    return {
      plan,
      variants: variants.length,
      dispatch(pass, variant) {
        for (const { pipeline, bindings, workgroups } of bound[variant]) {
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, bindings);
          pass.dispatchWorkgroups(...workgroups);
        }
      },
      copy(encoder, variant) {
        if (plan.call.kind !== 'copy') return;
        const { from, to } = plan.call;
        const bytes = bytesOf(plan.buffers[from]);
        encoder.copyBufferToBuffer(buffer(from, variant), 0, buffer(to, variant), 0, bytes);
      },
      buffer,
      inputs: (variant) => ({
        ...Object.fromEntries(
          random.map(({ name, spec }, place) => [
            name,
            randomElement(spec.type, seed(variant, place), spec.content.scale),
          ]),
        ),
        ...Object.fromEntries(
          specs.flatMap(([name, { content }]) =>
            content.kind === 'words' ? [[name, (i: number) => content.words[i]]] : [],
          ),
        ),
      }),
      destroy,
    };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Whether there was room; what else is wrong shows in the first variant. */
async function succeeds(action: () => Promise<void>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (error instanceof BackendError) return false;
    throw error;
  }
}

function createBuffer(gpu: Gpu, spec: BufferSpec): GPUBuffer {
  const { MAP_WRITE, COPY_SRC, COPY_DST, STORAGE } = gpu.usage;
  const buffer = gpu.device.createBuffer({
    size: bytesOf(spec),
    usage: spec.onHost ? MAP_WRITE | COPY_SRC : STORAGE | COPY_SRC | COPY_DST,
    mappedAtCreation: spec.onHost ?? false,
  });
  if (spec.content.kind === 'words') gpu.device.queue.writeBuffer(buffer, 0, spec.content.words);
  return buffer;
}

function destroyBuffers(buffers: Map<string, GPUBuffer>): void {
  for (const buffer of buffers.values()) buffer.destroy();
}
