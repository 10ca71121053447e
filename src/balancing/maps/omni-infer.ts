import { unzipSync } from 'fflate';
import { load } from 'npyjs';
import type { PlacementMap } from './placement-map.js';

/**
 * omni-infer's placement patterns (`.npz`): `placement`, one bit per GPU, layer and expert, packed along the experts,
 * the highest bit first; `shape`, their numbers. A GPU holds an expert at most once, in the order of their numbers.
 * @throws RangeError of the form `path: found …, allowed: …`
 */
export async function readOmniInfer(bytes: ArrayBuffer): Promise<PlacementMap> {
  const files = unzip(bytes);
  const [packed, sizes] = [await array(files, 'placement'), await array(files, 'shape')];
  const [gpus, layers, experts] = Array.from(sizes.data as unknown as ArrayLike<number | bigint>, Number);
  const width = Math.ceil(experts / 8);
  const expected = [gpus, layers, width];
  if (packed.shape.length !== 3 || packed.shape.some((size, i) => size !== expected[i])) {
    throw new RangeError(
      `placement.npy: found shape ${packed.shape.join(' × ')}, allowed: ${expected.join(' × ')}, as shape.npy says`,
    );
  }
  const bits = packed.data as Uint8Array;
  const held = (gpu: number, layer: number) => {
    const at = (gpu * layers + layer) * width;
    return Array.from({ length: experts }, (_, e) => e).filter(
      (e) => (bits[at + (e >> 3)] >> (7 - (e & 7))) & 1,
    );
  };
  return {
    experts,
    layers: Array.from({ length: layers }, (_, layer) => ({
      layer,
      slots: Array.from({ length: gpus }, (__, gpu) => held(gpu, layer)),
    })),
  };
}

function unzip(bytes: ArrayBuffer): Record<string, Uint8Array> {
  try {
    return unzipSync(new Uint8Array(bytes));
  } catch (error) {
    throw new RangeError(`found no zip archive (${(error as Error).message}), allowed: a whole .npz file`, {
      cause: error,
    });
  }
}

async function array(files: Record<string, Uint8Array>, name: string) {
  const file = files[`${name}.npy`];
  if (file === undefined) {
    throw new RangeError(
      `${name}.npy: found ${Object.keys(files).join(', ') || 'nothing'}, allowed: placement.npy and shape.npy`,
    );
  }
  try {
    return await load(file.slice().buffer);
  } catch (error) {
    throw new RangeError(
      `${name}.npy: found no numpy array (${(error as Error).message}), allowed: a whole one`,
      { cause: error },
    );
  }
}
