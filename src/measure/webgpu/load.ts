import { createRequire } from 'node:module';
import { BackendError } from '../backend.js';

/** Version that epsim was tested with. */
const TESTED = '0.6.2';

/**
 * Timestamps as they are: by default Dawn rounds them to 65 µs, which hides most kernels.
 */
const OPTIONS = ['disable-dawn-features=timestamp_quantization'];

/** The optional package: WebGPU of this machine, and what its flags are called. */
export interface Loaded {
  gpu: GPU;
  usage: Record<Usage, number>;
  mapMode: { READ: number };
  /** Version of the package. */
  version: string;
}

type Usage = 'MAP_READ' | 'MAP_WRITE' | 'COPY_SRC' | 'COPY_DST' | 'STORAGE' | 'UNIFORM' | 'QUERY_RESOLVE';

/**
 * Loads the package only when somebody measures.
 * @param options more options of Dawn
 * @throws BackendError where it is missing or does not load
 */
export async function loadWebgpu(options: readonly string[] = []): Promise<Loaded> {
  try {
    const { create, globals } = await import('webgpu');
    const { GPUBufferUsage, GPUMapMode } = globals as {
      GPUBufferUsage: Record<Usage, number>;
      GPUMapMode: { READ: number };
    };
    const { version } = createRequire(import.meta.url)('webgpu/package.json') as { version: string };
    return { gpu: create([...OPTIONS, ...options]), usage: GPUBufferUsage, mapMode: GPUMapMode, version };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_MODULE_NOT_FOUND') {
      throw new BackendError(`the optional package webgpu is not installed: npm install webgpu@${TESTED}`);
    }
    throw new BackendError(`the package webgpu does not load on this machine: ${message}`);
  }
}
