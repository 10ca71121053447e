import type { AsyncBuffer, Compressors, FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { parquetHeader } from 'hyparquet/src/column.js';
import { decompressPage } from 'hyparquet/src/datapage.js';
import { readVarInt } from 'hyparquet/src/thrift.js';

/** Rows of a row group up to which a file is read; DuckDB writes 122,880, pandas about a million. */
const MOST_ROWS = 16 * 2 ** 20;
/** Decompressed size of a page up to which a file is read, bytes; writers make pages of about a megabyte. */
const MOST_PAGE_BYTES = 256 * 2 ** 20;
/** Bit-packed runs count their values in eights. */
const PACK = 8;

/** The decompressors, refusing pages that would fill the memory. */
export const boundedCompressors: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      if (!(outputLength >= 0 && outputLength <= MOST_PAGE_BYTES)) {
        throw new Error(`a page of ${outputLength} bytes, more than the allowed ${MOST_PAGE_BYTES}`);
      }
      return decompress(input, outputLength);
    },
  ]),
);

/** @throws Error where the metadata promise what no file of this size holds */
export function checkGroups({ row_groups: groups, schema }: FileMetaData, byteLength: number): void {
  if (schema.some(({ repetition_type: repetition }) => repetition === 'REPEATED')) {
    throw new Error('a column of lists');
  }
  groups.forEach(({ num_rows: rows, columns }, group) => {
    if (!(rows >= 0n && rows <= MOST_ROWS)) {
      throw new Error(`${rows} rows in row group ${group}, more than the allowed ${MOST_ROWS}`);
    }
    for (const { meta_data: meta } of columns) {
      if (!meta) throw new Error(`a column without metadata in row group ${group}`);
      const start = meta.dictionary_page_offset ?? meta.data_page_offset;
      if (!(start >= 0n && meta.total_compressed_size >= 0n)) throw new Error('a column before the file');
      if (start + meta.total_compressed_size > BigInt(byteLength))
        throw new Error('a column beyond the file');
      if (meta.num_values !== rows) throw new Error(`${meta.num_values} values in a column of ${rows} rows`);
    }
  });
}

/**
 * Walks over the pages of a row group before they are decoded: the decoder believes what run lengths say,
 * and a single damaged byte would have it fill the memory.
 * @throws Error where a page holds more values than the group has rows
 */
export async function checkPages(
  file: AsyncBuffer,
  metadata: FileMetaData,
  group: number,
  wanted: readonly string[],
): Promise<void> {
  const { columns, num_rows: groupRows } = metadata.row_groups[group];
  const rows = Number(groupRows);
  for (const { meta_data: meta } of columns) {
    const { codec, type, path_in_schema: path } = meta!;
    if (!wanted.includes(path[0])) continue;
    const element = metadata.schema.find(({ name }) => name === path[0]);
    const optional = element?.repetition_type !== 'REQUIRED';
    const start = Number(meta!.dictionary_page_offset ?? meta!.data_page_offset);
    const bytes = await file.slice(start, start + Number(meta!.total_compressed_size));
    const reader = { view: new DataView(bytes), offset: 0 };
    for (let values = 0; values < rows && reader.offset < bytes.byteLength - 1;) {
      const header = parquetHeader(reader);
      const compressed = new Uint8Array(bytes, reader.offset, header.compressed_page_size);
      reader.offset += header.compressed_page_size;
      const head = header.data_page_header ?? header.data_page_header_v2 ?? header.dictionary_page_header;
      const most = header.type === 'DICTIONARY_PAGE' ? MOST_ROWS : rows - values;
      if (head === undefined || !(head.num_values >= 0 && head.num_values <= most)) {
        throw new Error(
          `a page of ${head?.num_values ?? 'unknown many'} values where at most ${most} are left`,
        );
      }
      if (header.type === 'DICTIONARY_PAGE') continue;
      values += head.num_values;
      const encoded = ['PLAIN_DICTIONARY', 'RLE_DICTIONARY', 'RLE'].includes(head.encoding ?? '');
      const v2 = header.data_page_header_v2;
      if (v2) {
        const levels = v2.definition_levels_byte_length;
        if (!(levels >= 0 && v2.repetition_levels_byte_length === 0)) throw new Error('levels of lists');
        if (!(v2.num_nulls === 0)) throw new Error('a column with nulls');
        if (levels > 0) checkRuns(compressed.subarray(0, levels), 1, v2.num_values);
        if (!encoded) continue;
        const body = compressed.subarray(levels);
        const size = header.uncompressed_page_size - levels;
        const page = v2.is_compressed ? decompressPage(body, size, codec, boundedCompressors) : body;
        checkValues(page, type === 'BOOLEAN', v2.num_values);
      } else if (encoded || optional) {
        const size = header.uncompressed_page_size;
        let page = decompressPage(compressed, size, codec, boundedCompressors);
        if (optional) page = checkPrefixed(page, 1, head.num_values);
        if (encoded) checkValues(page, type === 'BOOLEAN', head.num_values);
      }
    }
  }
}

/** Runs after the bits of a value; those of truth values after their length. */
function checkValues(page: Uint8Array, isBoolean: boolean, values: number): void {
  if (isBoolean) checkPrefixed(page, 1, values);
  else if (page[0] > 0) checkRuns(page.subarray(1), page[0], values);
}

/** Runs after their length in bytes. @returns what follows them */
function checkPrefixed(page: Uint8Array, width: number, values: number): Uint8Array {
  const length = new DataView(page.buffer, page.byteOffset, page.byteLength).getUint32(0, true);
  if (length > page.length - 4) throw new Error(`${length} bytes of runs in a page of ${page.length}`);
  checkRuns(page.subarray(4, 4 + length), width, values);
  return page.subarray(4 + length);
}

/** @throws Error where runs (RLE and bit-packed, `width` bits a value) hold too few or too many values */
function checkRuns(bytes: Uint8Array, width: number, values: number): void {
  if (width > 32) throw new Error(`values of ${width} bits`);
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
  let seen = 0;
  while (seen < values) {
    const header = readVarInt(reader) >>> 0;
    const packed = (header & 1) === 1;
    const count = packed ? (header >>> 1) * PACK : header >>> 1;
    reader.offset += packed ? (header >>> 1) * width : (width + 7) >> 3;
    // Packed runs are filled up with zeros (DuckDB's to 256 values), and are as long as their bytes.
    const tooLong = packed ? reader.offset > bytes.length + width : count > values - seen;
    if (count === 0 || tooLong) throw new Error(`a run of ${count} values where ${values - seen} are left`);
    seen += count;
  }
}
