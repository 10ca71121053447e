import type { Backend } from './backend.js';

export interface BackendOptions {
  /** Python interpreter for `torch`. */
  python?: string;
}

/** Each backend is loaded when it is asked for, so that nobody needs what another one is made of. */
const backends = {
  torch: async ({ python }: BackendOptions) => (await import('./torch.js')).torchBackend(python),
  webgpu: async () => (await import('./webgpu/index.js')).webgpuBackend,
} satisfies Record<Backend['name'], (options: BackendOptions) => Promise<Backend>>;

export const BACKEND_NAMES = Object.keys(backends) as (keyof typeof backends)[];

/** The backend of a name. */
export function backendOf(name: keyof typeof backends, options: BackendOptions): Promise<Backend> {
  return backends[name](options);
}
