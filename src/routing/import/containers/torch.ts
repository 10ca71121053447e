import { BufferReader, Parser } from 'pickleparser';
import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { checkSize, MOST_DOCUMENT_BYTES } from '../limits.js';
import { decodeNumbers, valuesOf, type NumberType, type Tensor } from './tensor.js';
import { openZip } from './zip.js';

/** What PyTorch calls its storages, by the numbers in them. */
const STORAGES: Readonly<Record<string, NumberType>> = {
  BoolStorage: 'bool',
  ByteStorage: 'uint8',
  CharStorage: 'int8',
  ShortStorage: 'int16',
  IntStorage: 'int32',
  LongStorage: 'int64',
  HalfStorage: 'float16',
  BFloat16Storage: 'bfloat16',
  FloatStorage: 'float32',
  DoubleStorage: 'float64',
};

/** A tensor of the file that has not been read yet. */
export class TorchTensor {
  constructor(
    private readonly type: NumberType,
    private readonly storage: () => Promise<Uint8Array>,
    private readonly offset: number,
    readonly shape: readonly number[],
    private readonly stride: readonly number[],
  ) {}

  /** The tensor in C order. @throws TraceError where its storage is damaged or too small */
  async read(place: string): Promise<Tensor> {
    const count = valuesOf(place, this.shape, this.type);
    const numbers = decodeNumbers(place, await this.storage(), this.type);
    const last = this.shape.reduce((at, size, i) => at + Math.max(0, size - 1) * this.stride[i], this.offset);
    if (count > 0 && last >= numbers.length) {
      throw new TraceError(place, `value ${last} of a storage of ${numbers.length}`, AS_RECORDED);
    }
    const data = new Float64Array(count);
    const index = this.shape.map(() => 0);
    let from = this.offset;
    for (let i = 0; i < count; i++) {
      data[i] = numbers[from];
      for (let axis = index.length - 1; axis >= 0; axis--) {
        from += this.stride[axis];
        if (++index[axis] < this.shape[axis]) break;
        from -= index[axis] * this.stride[axis];
        index[axis] = 0;
      }
    }
    return { shape: this.shape, data };
  }
}

/** What the plain part of a pickle may hold: None, truth values, numbers, texts, lists, dicts; and tensors. */
export type TorchValue =
  null | boolean | number | string | TorchTensor | TorchValue[] | Map<TorchValue, TorchValue>;

/** Refuses lengths that would take the reader backwards, as no pickle has them. */
class ForwardReader extends BufferReader {
  override skip(offset: number): void {
    if (!(offset >= 0)) throw new Error(`a length of ${offset}`);
    super.skip(offset);
  }
}

/**
 * Reads what `torch.save` wrote (the zip format, PyTorch ≥ 1.6). The pickle in it is read with a whitelist of
 * names, each of which stands for a function of this file: nothing that the file names is ever called.
 *
 * @throws TraceError where the file is none, is damaged, or names anything else
 */
export async function readTorch(source: ByteSource): Promise<TorchValue> {
  const members = await openZip(source);
  const pickle = [...members.values()].find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickle === undefined) throw new TraceError('', 'no data.pkl in the archive', 'what torch.save wrote');
  checkSize(pickle.name, pickle.size, MOST_DOCUMENT_BYTES);
  const folder = pickle.name.slice(0, -'data.pkl'.length);
  const order = members.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(await order.read()) !== 'little') {
    throw new TraceError(order.name, 'another order of bytes', 'little');
  }
  const storageOf = (name: string) => {
    const member = members.get(`${folder}data/${name}`);
    if (member === undefined)
      throw new TraceError('data.pkl', `a storage ${name} that is not there`, AS_RECORDED);
    return () => member.read();
  };
  const bytes = await pickle.read();
  try {
    return checkPlain(new Parser(parserOptions(storageOf)).read<unknown>(new ForwardReader(bytes)));
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw new TraceError('data.pkl', `no pickle that can be read (${(error as Error).message})`, AS_RECORDED);
  }
}

/** A storage as a pickle names it, before a tensor is made of it. */
class Storage {
  constructor(
    readonly type: NumberType,
    readonly read: () => Promise<Uint8Array>,
  ) {}
}

/** A name of a storage's type. */
class StorageType {
  constructor(readonly type: NumberType) {}
}

function parserOptions(storageOf: (name: string) => () => Promise<Uint8Array>) {
  return {
    unpicklingTypeOfDictionary: 'Map' as const,
    nameResolver: { resolve: resolveName },
    persistentResolver: {
      resolve(id: unknown) {
        if (
          Array.isArray(id) &&
          id[0] === 'storage' &&
          id[1] instanceof StorageType &&
          typeof id[2] === 'string'
        ) {
          return new Storage(id[1].type, storageOf(id[2]));
        }
        throw new TraceError('data.pkl', 'a reference that is no storage', 'storages of tensors');
      },
    },
  };
}

/** The only names that a pickle may hold, and what stands in for them here. */
function resolveName(module: string, name: string): never {
  const full = `${module}.${name}`;
  if (full === 'torch._utils._rebuild_tensor_v2') return Object.freeze(rebuildTensor) as never;
  if (full === 'collections.OrderedDict') return Object.freeze(() => new Map()) as never;
  if (module === 'torch' && Object.hasOwn(STORAGES, name))
    return Object.freeze(new StorageType(STORAGES[name])) as never;
  const allowed = `only torch._utils._rebuild_tensor_v2, collections.OrderedDict and torch storages: nothing else is run`;
  throw new TraceError('data.pkl', `the name ${full.slice(0, 120)}`, allowed);
}

function rebuildTensor(storage: unknown, offset: unknown, shape: unknown, stride: unknown): TorchTensor {
  const whole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  const sizes = (value: unknown): value is number[] => Array.isArray(value) && value.every(whole);
  if (
    storage instanceof Storage &&
    whole(offset) &&
    sizes(shape) &&
    sizes(stride) &&
    shape.length === stride.length
  ) {
    return new TorchTensor(storage.type, storage.read, offset, shape, stride);
  }
  throw new TraceError('data.pkl', 'a tensor without storage, offset, shape and stride', AS_RECORDED);
}

/** @throws TraceError where a value holds anything that `TorchValue` does not */
function checkPlain(root: unknown): TorchValue {
  // Lists may share their items, and hold themselves.
  const seen = new Set<unknown>();
  const left = [root];
  while (left.length > 0) {
    const value = left.pop();
    if (value === null || ['boolean', 'number', 'string'].includes(typeof value)) continue;
    if (value instanceof TorchTensor || seen.has(value)) continue;
    seen.add(value);
    if (Array.isArray(value)) {
      for (const item of value as unknown[]) if (typeof item !== 'number') left.push(item);
    } else if (value instanceof Map) {
      for (const item of value.values()) left.push(item);
    } else {
      throw new TraceError('data.pkl', `a ${typeof value}`, 'numbers, texts, lists, dicts and tensors');
    }
  }
  return root as TorchValue;
}
