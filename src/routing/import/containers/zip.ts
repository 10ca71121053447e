import { Reader, Writer, ZipReader } from '@zip.js/zip.js';
import type { ByteSource } from '../../bytes.js';
import { AS_RECORDED, TraceError } from '../../trace/trace.js';
import { checkSize, MOST_ARRAY_BYTES, MOST_MEMBERS } from '../limits.js';

/** A member of a zip archive. */
export interface ZipMember {
  name: string;
  /** Its size when it is unpacked, as the archive says. */
  size: number;
  /** Its bytes. @throws TraceError where it is damaged, or not of the size that it says */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

class SourceReader extends Reader<ByteSource> {
  constructor(private readonly source: ByteSource) {
    super(source);
    this.size = source.byteLength;
  }

  override readUint8Array(start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.source.read(start, Math.min(start + length, this.size));
  }
}

/** Takes as many bytes as the archive says and no more: what unpacks to more is a bomb. */
class BoundedWriter extends Writer<Uint8Array<ArrayBuffer>> {
  private readonly bytes: Uint8Array<ArrayBuffer>;
  private filled = 0;

  constructor(size: number) {
    super();
    this.bytes = new Uint8Array(size);
  }

  override writeUint8Array(part: Uint8Array): Promise<void> {
    if (this.filled + part.length > this.bytes.length) {
      throw new Error(`more than the ${this.bytes.length} bytes that the archive says`);
    }
    this.bytes.set(part, this.filled);
    this.filled += part.length;
    return Promise.resolve();
  }

  override getData(): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.bytes);
  }
}

/**
 * Members of a zip archive by name; each is read, and checked by its checksum, when it is asked for.
 * @throws TraceError where the file is no archive that can be read
 */
export async function openZip(source: ByteSource): Promise<Map<string, ZipMember>> {
  const archive = new ZipReader(new SourceReader(source), { useWebWorkers: false, checkSignature: true });
  const members = new Map<string, ZipMember>();
  try {
    for await (const entry of archive.getEntriesGenerator()) {
      if (entry.directory) continue;
      if (entry.encrypted) throw new TraceError(entry.filename, 'an encrypted member', 'a plain one');
      const { filename: name, uncompressedSize: size } = entry;
      if (members.has(name)) throw new TraceError(name, 'the same name twice in one archive', AS_RECORDED);
      if (members.size === MOST_MEMBERS) {
        throw new TraceError('', `more than ${MOST_MEMBERS} members`, `at most ${MOST_MEMBERS}`);
      }
      members.set(name, {
        name,
        size,
        async read() {
          checkSize(name, size, MOST_ARRAY_BYTES);
          try {
            return await entry.getData(new BoundedWriter(size));
          } catch (error) {
            throw damaged(name, error);
          }
        },
      });
    }
  } catch (error) {
    throw damaged('', error);
  }
  return members;
}

function damaged(place: string, error: unknown): TraceError {
  if (error instanceof TraceError) return error;
  const { message } = error as Error;
  return new TraceError(place, `no zip archive that can be read (${message})`, AS_RECORDED);
}
