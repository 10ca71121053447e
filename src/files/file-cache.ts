import type { PlacementMap } from '../balancing/index.js';
import { packTrace, unpackTrace, type PackedTrace, type Trace } from '../routing/index.js';
import { locate, parseJson, readBytes } from './read.js';
import { readPlacementMap } from './read-placement-map.js';
import { readTrace } from './read-trace.js';
import { hashOf } from './write.js';

/** What a file holds, and the hash of its bytes. */
export interface OpenedFile<Content> {
  content: Content;
  sha256: string;
}

/** A file that was opened: how it was asked for, and what it held. */
type Entry = OpenedFile<unknown> & { kind: 'json' | 'trace' | 'placement-map'; path: string };

/** What another thread needs for a cache of the same files; traces are in shared memory, not copied. */
export type SharedFiles = ReadonlyMap<string, Entry>;

/**
 * Files that scenarios name, each read, decoded and hashed once for all the scenarios of a process that ask for
 * it. What it holds must not be written into.
 */
export class FileCache {
  private readonly opened = new Map<string, Promise<Entry>>();

  /** @param shared files that another thread has opened */
  constructor(shared: SharedFiles = new Map()) {
    for (const [key, entry] of shared) {
      const content = entry.kind === 'trace' ? unpackTrace(entry.content as PackedTrace) : entry.content;
      this.opened.set(key, Promise.resolve({ ...entry, content }));
    }
  }

  /** @throws FileError */
  json(path: string, baseDir: string): Promise<OpenedFile<unknown>> {
    const located = locate(path, baseDir);
    return this.entry(`json ${located}`, async () => {
      const bytes = await readBytes(located);
      return { kind: 'json', path, content: parseJson(located, bytes), sha256: hashOf([bytes]) };
    });
  }

  /**
   * @param topK the model's, for recordings that don't say it
   * @throws FileError or TraceError
   */
  async trace(path: string, baseDir: string, topK?: number): Promise<OpenedFile<Trace>> {
    const entry = await this.entry(traceKey(path, baseDir, topK), async () => {
      const { trace, hash } = await readTrace(path, baseDir, topK);
      return { kind: 'trace', path, content: trace, sha256: hash };
    });
    return entry as OpenedFile<Trace>;
  }

  /** Gives out a trace that lies in no file, under the path that scenarios name it by. */
  hold(path: string, baseDir: string, topK: number, trace: Trace, sha256: string): void {
    const entry: Entry = { kind: 'trace', path, content: trace, sha256 };
    this.opened.set(traceKey(path, baseDir, topK), Promise.resolve(entry));
  }

  /** @throws FileError or ScenarioError */
  async placementMap(path: string, baseDir: string): Promise<OpenedFile<PlacementMap>> {
    const located = locate(path, baseDir);
    const entry = await this.entry(`placement-map ${located}`, async () => {
      const { map, sha256 } = await readPlacementMap(located);
      return { kind: 'placement-map', path, content: map, sha256 };
    });
    return entry as OpenedFile<PlacementMap>;
  }

  /**
   * What was opened so far, for the threads of this process; without traces that are larger than memory, which
   * every thread opens for itself.
   */
  async share(): Promise<SharedFiles> {
    const shared = new Map<string, Entry>();
    for (const [key, opened] of this.opened) {
      const entry = await opened;
      const content = entry.kind === 'trace' ? packTrace(entry.content as Trace) : entry.content;
      if (content !== null) shared.set(key, { ...entry, content: inSharedMemory(content) });
    }
    return shared;
  }

  /** Kind, path and hash of every file that was opened so far, in the order of their names. */
  async list(): Promise<Pick<Entry, 'kind' | 'path' | 'sha256'>[]> {
    const entries = await Promise.all(this.opened.values());
    const listed = new Map(
      entries.map(({ kind, path, sha256 }) => [`${path}/${kind}`, { kind, path, sha256 }]),
    );
    return [...listed.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
  }

  private entry(key: string, open: () => Promise<Entry>): Promise<Entry> {
    let entry = this.opened.get(key);
    if (!entry) {
      entry = open();
      this.opened.set(key, entry);
    }
    return entry;
  }
}

/** What a trace says depends on the model's topK where the recording does not say its own. */
function traceKey(path: string, baseDir: string, topK: number | undefined): string {
  return `trace ${topK ?? ''} ${locate(path, baseDir)}`;
}

type TypedArray = Uint8Array | Uint16Array | Int32Array | Float32Array | Float64Array;

/** A copy of plain data whose typed arrays lie in memory that threads share. */
function inSharedMemory<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value)) return sharedArray(value as unknown as TypedArray) as unknown as T;
  if (Array.isArray(value)) return value.map(inSharedMemory) as T;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, inSharedMemory<unknown>(part)]),
  ) as T;
}

function sharedArray(array: TypedArray): TypedArray {
  if (array.buffer instanceof SharedArrayBuffer) return array;
  const kind = array.constructor as new (buffer: SharedArrayBuffer) => TypedArray;
  const copy = new kind(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}
