import { parse } from 'yaml';
import { readOmniInfer } from './omni-infer.js';
import { textOf, type MapFormat, type PlacementMap } from './placement-map.js';
import { sglang } from './sglang.js';
import { tensorrtLlmMap } from './tensorrt-llm.js';
import { vllmAscend } from './vllm-ascend.js';
import { vllm } from './vllm.js';

/** All formats that maps are read from and written in. To add one, add its file here. */
export const mapFormats: readonly MapFormat[] = [sglang, vllm, tensorrtLlmMap, vllmAscend];

/** First bytes of a zip archive, which a `.npz` file is. */
const ZIP = [0x50, 0x4b];

/**
 * Reads a placement map of any known format, which its content tells.
 * @throws RangeError of the form `path: found …, allowed: …`
 */
export async function readPlacementMap(bytes: ArrayBuffer): Promise<PlacementMap> {
  const start = new Uint8Array(bytes, 0, Math.min(2, bytes.byteLength));
  if (start.length === 2 && start.every((byte, i) => byte === ZIP[i])) return readOmniInfer(bytes);
  const content = parsed(new TextDecoder().decode(bytes));
  const format = mapFormats.find((candidate) => candidate.matches(content));
  if (format !== undefined) return format.read(content);
  throw new RangeError(
    `found ${textOf(content)}, allowed: a map of ${mapFormats.map(({ name }) => name).join(', ')} or omni-infer (.npz)`,
  );
}

/** JSON is YAML; aliases, which could make a small file very large, are refused. */
function parsed(text: string): unknown {
  try {
    return text.trimStart().startsWith('{') ? JSON.parse(text) : parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw new RangeError(`found ${(error as Error).message.split('\n')[0]}, allowed: JSON or YAML`, {
      cause: error,
    });
  }
}
