import type { ByteSource } from '../../bytes.js';
import { checkSize, MOST_DOCUMENT_BYTES } from '../limits.js';

const CHUNK = 2 ** 20;

/** Lines of a text file in turn, without their ends; empty lines are left out. */
export async function* lines(source: ByteSource): AsyncGenerator<{ number: number; text: string }> {
  const decoder = new TextDecoder();
  // Parts of the line that has no end yet: joined once, since a line may be long.
  let parts: string[] = [];
  let length = 0;
  let number = 0;
  for (let at = 0; at < source.byteLength; at += CHUNK) {
    const chunk = await source.read(at, Math.min(at + CHUNK, source.byteLength));
    const text = decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      parts.push(text.slice(start, end));
      const line = parts.join('').replace(/\r$/, '');
      number++;
      if (line.trim() !== '') yield { number, text: line };
      parts = [];
      length = 0;
      start = end + 1;
    }
    parts.push(text.slice(start));
    length += text.length - start;
    checkSize(`line ${number + 1}`, length, MOST_DOCUMENT_BYTES);
  }
  const last = parts.join('') + decoder.decode();
  if (last.trim() !== '') yield { number: number + 1, text: last };
}
