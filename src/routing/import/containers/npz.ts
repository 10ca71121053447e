import { bytesInMemory, type ByteSource } from '../../bytes.js';
import { TraceError } from '../../trace/trace.js';
import { readNpyArray } from './npy.js';
import type { Tensor } from './tensor.js';
import { openZip } from './zip.js';

/** Arrays of an `.npz` file by name. */
export interface NpzFile {
  has(name: string): boolean;
  /** @throws TraceError where there is no such array, or it is damaged */
  array(name: string): Promise<Tensor>;
  /** A single text. @throws TraceError */
  text(name: string): Promise<string>;
}

/** @throws TraceError where the file is no archive of numpy files */
export async function openNpz(source: ByteSource): Promise<NpzFile> {
  const members = await openZip(source);
  const bytesOf = async (name: string) => {
    const member = members.get(`${name}.npy`);
    if (member === undefined) {
      const names = [...members.keys()].slice(0, 20).join(', ');
      throw new TraceError(name, `no such array among ${names || 'none'}`, 'an array of that name');
    }
    return member.read();
  };
  return {
    has: (name) => members.has(`${name}.npy`),
    array: async (name) => readNpyArray(bytesInMemory(await bytesOf(name)), name),
    text: async (name) => textOf(name, await bytesOf(name)),
  };
}

/** The text of an array with one value of numpy's types `U` (UTF-32) or `S` (bytes). */
function textOf(place: string, bytes: Uint8Array): string {
  const header = new TextDecoder('latin1').decode(bytes.subarray(0, 256));
  const [, kind, size] = /'descr':\s*'[<|]([US])(\d+)'/.exec(header) ?? [];
  const end = header.indexOf('\n');
  if (kind === undefined || end < 0) throw new TraceError(place, 'no text', "numpy's type U or S");
  const body = bytes.slice(end + 1, end + 1 + Number(size) * (kind === 'U' ? 4 : 1));
  const codes = kind === 'S' ? body : new Uint32Array(body.buffer, 0, Math.floor(body.length / 4));
  let text = '';
  for (const code of codes) if (code > 0 && code <= 0x10ffff) text += String.fromCodePoint(code);
  return text;
}
