/** A file that can be read in parts. */
export interface ByteSource {
  /** The file's name, without its folder. */
  readonly name: string;
  readonly byteLength: number;
  /** Bytes from `start` up to `end`, both within the file. */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** Where a file is written to, from its first byte to its last. */
export interface ByteSink {
  /** Takes the bytes before it returns: the caller goes on to overwrite them. */
  write(bytes: Uint8Array): void;
}

/** Room outside memory that is gone with the process. */
export interface Scratch {
  append(bytes: Uint8Array): void;
  /** Fills `into` from this position on. */
  read(position: number, into: Uint8Array): void;
}

/** A file whose bytes are in memory already. */
export function bytesInMemory(bytes: Uint8Array | ArrayBuffer, name = ''): ByteSource {
  const all = new Uint8Array(bytes);
  return {
    name,
    byteLength: all.byteLength,
    read: (start, end) => Promise.resolve(all.slice(start, end)),
  };
}

/** Collects what is written in memory. */
export class MemorySink implements ByteSink {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  write(bytes: Uint8Array): void {
    this.parts.push(bytes.slice());
    this.length += bytes.length;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}
