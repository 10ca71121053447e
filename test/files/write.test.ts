import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkFolder, writeFolder } from '../../src/files/index.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'epsim-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('writeFolder', () => {
  it('makes what is missing above, replaces what is there, and lets others read', async () => {
    const parent = join(folder, 'a/b');
    await writeFolder(parent, 'kept', { 'one.txt': 'old', 'two.txt': '2' });
    expect(await writeFolder(parent, 'kept', { 'one.txt': 'new' })).toBe(join(parent, 'kept'));
    expect(readdirSync(parent)).toEqual(['kept']);
    expect(readdirSync(join(parent, 'kept'))).toEqual(['one.txt']);
    expect(readFileSync(join(parent, 'kept/one.txt'), 'utf8')).toBe('new');
    const { mode } = statSync(join(parent, 'kept'));
    expect(mode & 0o777).toBe(0o777 & ~process.umask());
  });

  it('leaves nothing behind where it fails', async () => {
    // A file in a folder that is not there can't be written.
    await expect(writeFolder(join(folder, 'a/b'), 'kept', { 'no/file.txt': '' })).rejects.toThrow(
      `${join(folder, 'a/b/kept')}: found no such file or folder, allowed: a folder that can be written`,
    );
    expect(readdirSync(folder)).toEqual([]);
    mkdirSync(join(folder, 'there'));
    await expect(writeFolder(join(folder, 'there'), 'kept', { 'no/file.txt': '' })).rejects.toThrow();
    expect(readdirSync(join(folder, 'there'))).toEqual([]);
  });
});

describe('checkFolder', () => {
  it('leaves no trace', async () => {
    await checkFolder(join(folder, 'a/b'));
    await checkFolder(folder);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('says what is in the way', async () => {
    writeFileSync(join(folder, 'file'), '');
    for (const path of ['file', 'file/below']) {
      await expect(checkFolder(join(folder, path))).rejects.toThrow(
        `${join(folder, path)}: found a file where a folder should be, allowed: a folder that can be written`,
      );
    }
  });
});
