/** Small writers of other engines' files, by the layouts that they publish. */
import { Uint8ArrayReader, Uint8ArrayWriter, ZipWriter } from '@zip.js/zip.js';
import { dump } from 'npyjs';

const utf8 = new TextEncoder();

export async function zipOf(members: Record<string, Uint8Array>, level = 0): Promise<Uint8Array> {
  const writer = new ZipWriter(new Uint8ArrayWriter(), { useWebWorkers: false, level });
  for (const [name, bytes] of Object.entries(members)) await writer.add(name, new Uint8ArrayReader(bytes));
  return writer.close();
}

/** An `.npz` file of int32 and int64 arrays, and texts. */
export async function npzOf(
  arrays: Record<string, { data: Int32Array | BigInt64Array; shape: number[] } | string>,
  level = 0,
): Promise<Uint8Array> {
  const members: Record<string, Uint8Array> = {};
  for (const [name, array] of Object.entries(arrays)) {
    members[`${name}.npy`] =
      typeof array === 'string'
        ? npyText(array)
        : new Uint8Array(dump(array.data as Int32Array, array.shape));
  }
  return zipOf(members, level);
}

/** A numpy scalar of type U: UTF-32, as `np.array("text")` is saved. */
export function npyText(text: string): Uint8Array {
  const header = `{'descr': '<U${text.length}', 'fortran_order': False, 'shape': (), }`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const head = [0x93, ...utf8.encode('NUMPY'), 1, 0, padded.length & 255, padded.length >> 8];
  const body = new Uint8Array(Uint32Array.from(text, (char) => char.codePointAt(0)!).buffer);
  return Uint8Array.from([...head, ...utf8.encode(padded), ...body]);
}

/** A tensor for `torchFile`. */
export class TestTensor {
  constructor(
    readonly values: readonly number[],
    readonly shape: readonly number[],
    readonly type: 'IntStorage' | 'LongStorage' = 'IntStorage',
  ) {}
}

type Value = null | boolean | number | string | TestTensor | Value[] | { [key: string]: Value };

/** What `torch.save` writes: a zip of a pickle (protocol 2) and the tensors' storages. */
export async function torchFile(root: Value): Promise<Uint8Array> {
  const storages: TestTensor[] = [];
  const pickle = [0x80, 2, ...pickled(root, storages), ...utf8.encode('.')];
  const members: Record<string, Uint8Array> = { 'archive/data.pkl': Uint8Array.from(pickle) };
  storages.forEach(({ values, type }, i) => {
    const data = type === 'IntStorage' ? Int32Array.from(values) : BigInt64Array.from(values, BigInt);
    members[`archive/data/${i}`] = new Uint8Array(data.buffer);
  });
  members['archive/version'] = utf8.encode('3\n');
  return zipOf(members);
}

/** Opcodes of a value; see Python's pickletools. */
function pickled(value: Value, storages: TestTensor[]): number[] {
  const op = (char: string) => char.charCodeAt(0);
  const int = (n: number) => [op('J'), ...new Uint8Array(Int32Array.of(n).buffer)];
  const text = (s: string) => [op('X'), ...new Uint8Array(Int32Array.of(s.length).buffer), ...utf8.encode(s)];
  const global = (module: string, name: string) => [op('c'), ...utf8.encode(`${module}\n${name}\n`)];
  const tuple = (...items: number[][]) => [op('('), ...items.flat(), op('t')];
  if (value === null) return [op('N')];
  if (typeof value === 'boolean') return [value ? 0x88 : 0x89];
  if (typeof value === 'number') return int(value);
  if (typeof value === 'string') return text(value);
  if (Array.isArray(value))
    return [op(']'), op('('), ...value.flatMap((item) => pickled(item, storages)), op('e')];
  if (value instanceof TestTensor) {
    const key = String(storages.push(value) - 1);
    const stride = value.shape.map((_, i) => value.shape.slice(i + 1).reduce((product, n) => product * n, 1));
    const storage = tuple(
      text('storage'),
      global('torch', value.type),
      text(key),
      text('cpu'),
      int(value.values.length),
    );
    return [
      ...global('torch._utils', '_rebuild_tensor_v2'),
      ...tuple(
        [...storage, op('Q')],
        int(0),
        tuple(...value.shape.map(int)),
        tuple(...stride.map(int)),
        [0x89],
        [...global('collections', 'OrderedDict'), op(')'), op('R')],
      ),
      op('R'),
    ];
  }
  const items = Object.entries(value).flatMap(([key, item]) => [...text(key), ...pickled(item, storages)]);
  return [op('}'), op('('), ...items, op('u')];
}

/** A safetensors file of int64 vectors. */
export function safetensorsFile(tensors: Record<string, readonly number[]>): Uint8Array {
  const header: Record<string, unknown> = {};
  const body: number[] = [];
  for (const [name, values] of Object.entries(tensors)) {
    const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    header[name] = {
      dtype: 'I64',
      shape: [values.length],
      data_offsets: [body.length, body.length + bytes.length],
    };
    body.push(...bytes);
  }
  const json = utf8.encode(JSON.stringify(header));
  const length = new Uint8Array(BigUint64Array.of(BigInt(json.length)).buffer);
  return Uint8Array.from([...length, ...json, ...body]);
}

export const textFile = (text: string): Uint8Array => utf8.encode(text);
