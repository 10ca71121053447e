import { BackendError } from '../backend.js';
import type { Kernel } from './kernels/kernel.js';
import { loadWebgpu, type Loaded } from './load.js';
import { isSoftware, type AdapterInfo } from './software-adapter.js';

/** What of a device decides whether it can take a case. */
export interface Capabilities {
  /** Has 16-bit floats in shaders. */
  shaderF16: boolean;
  /** Bytes of the largest buffer. */
  maxBufferSize: number;
  /** Bytes that one binding of a kernel shows it. */
  maxStorageBufferBindingSize: number;
  /** Workgroups along one dimension of a dispatch. */
  maxComputeWorkgroupsPerDimension: number;
}

const NO_ADAPTER =
  'no WebGPU adapter was found: install the driver of the GPU (on Linux its Vulkan driver and libvulkan1). ' +
  'To try the backend without a GPU, let VK_DRIVER_FILES name the vk_swiftshader_icd.json of a software ' +
  'driver (on Debian in the package chromium-common: dpkg -L chromium-common)';

/** A WebGPU device with its compiled kernels. */
export class Gpu {
  private readonly pipelines = new Map<string, GPUComputePipeline>();
  private lost: string | null = null;

  private constructor(
    readonly device: GPUDevice,
    readonly info: AdapterInfo,
    readonly usage: Loaded['usage'],
    private readonly mapMode: Loaded['mapMode'],
    readonly packageVersion: string,
    /** Kept, because Dawn ends when it is collected. */
    readonly instance: GPU,
  ) {
    void device.lost.then(({ reason, message }) => {
      if (reason !== 'destroyed') this.lost = message;
    });
  }

  /**
   * The machine's fastest adapter.
   * @param without features to do without, though the adapter may have them
   * @param dawnOptions options of Dawn
   * @throws BackendError that says what to install
   */
  static async open(
    without: readonly GPUFeatureName[] = [],
    dawnOptions: readonly string[] = [],
  ): Promise<Gpu> {
    const { gpu, usage, mapMode, version } = await loadWebgpu(dawnOptions);
    let adapter: GPUAdapter | null;
    try {
      adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    } catch {
      adapter = null;
    }
    if (adapter === null) throw new BackendError(NO_ADAPTER);
    const wished: GPUFeatureName[] = ['timestamp-query', 'shader-f16'];
    try {
      const device = await adapter.requestDevice({
        requiredFeatures: wished.filter((name) => adapter.features.has(name) && !without.includes(name)),
        requiredLimits: {
          maxBufferSize: adapter.limits.maxBufferSize,
          maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
        },
      });
      return new Gpu(device, adapter.info, usage, mapMode, version, gpu);
    } catch (error) {
      throw new BackendError(`the WebGPU adapter gives no device: ${(error as Error).message}`);
    }
  }

  get software(): boolean {
    return isSoftware(this.info);
  }

  /** Whether the device's own clock can be read. */
  get timestamps(): boolean {
    return this.device.features.has('timestamp-query');
  }

  get capabilities(): Capabilities {
    const { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupsPerDimension } =
      this.device.limits;
    return {
      shaderF16: this.device.features.has('shader-f16'),
      maxBufferSize,
      maxStorageBufferBindingSize,
      maxComputeWorkgroupsPerDimension,
    };
  }

  /** The pipeline of a kernel with values for its overrides; compiled once. */
  pipeline({ name, code }: Kernel, constants: Record<string, number> = {}): GPUComputePipeline {
    const key = JSON.stringify([code, constants]);
    let pipeline = this.pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.device.createComputePipeline({
        label: name,
        layout: 'auto',
        compute: { module: this.device.createShaderModule({ label: name, code }), constants },
      });
      this.pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  /**
   * Does something with the device and reports what the device says against it.
   * @param what subject of the message, such as "unpermute"
   * @throws BackendError if the device refuses, runs out of memory or is lost
   */
  async guarded<T>(what: string, work: () => T | Promise<T>): Promise<T> {
    this.device.pushErrorScope('internal');
    this.device.pushErrorScope('out-of-memory');
    this.device.pushErrorScope('validation');
    let result: { value: T } | { thrown: unknown };
    try {
      result = { value: await work() };
    } catch (thrown) {
      result = { thrown };
    }
    const errors: string[] = [];
    for (let scope = 0; scope < 3; scope++) {
      const error = await this.device.popErrorScope();
      if (error !== null) errors.push(error.message.trim());
    }
    if (this.lost !== null) errors.push(`the device was lost: ${this.lost}`);
    if (errors.length > 0) throw new BackendError(`webgpu: ${what}: ${errors.join('; ')}`);
    if ('value' in result) return result.value;
    if (result.thrown instanceof BackendError) throw result.thrown;
    throw new BackendError(`webgpu: ${what}: ${(result.thrown as Error).message}`);
  }

  /** A buffer that is mapped for reading, its bytes given to `use`, and unmapped. */
  async mapped<T>(buffer: GPUBuffer, use: (bytes: ArrayBuffer) => T): Promise<T> {
    await buffer.mapAsync(this.mapMode.READ);
    const result = use(buffer.getMappedRange());
    buffer.unmap();
    return result;
  }

  close(): void {
    this.device.destroy();
  }
}
