import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import { FileError } from './file-error.js';
import { appendLine, ASIDE, makeFolders, writeAside } from './write.js';

/** Milliseconds after which nobody is still writing a file. */
const ABANDONED = 3_600_000;

/**
 * The folder of one sweep. Any number of processes, on any number of machines, may work in it: every file is
 * written aside and renamed, and whoever writes it writes the same bytes; but for journals, each of which has one
 * writer, and whose lines hold a sum by which one that was cut off is told.
 *
 * - `manifest.json`: what is to be done
 * - `points/<shard>/<writer>.journal`: finished points of a shard that is not yet whole, a line each
 * - `shards/<shard>.jsonl.gz`: whole shards, a line per point in their order; their journals are gone
 * - `points.parquet`, `points.csv`: the result
 * - `slurm/`: what tasks of a cluster print
 */
export class SweepFolder {
  /** Names the journals of this writer alone. */
  private writer = randomUUID();

  constructor(readonly path: string) {}

  get manifest(): string {
    return join(this.path, 'manifest.json');
  }

  get table(): { parquet: string; csv: string } {
    return { parquet: join(this.path, 'points.parquet'), csv: join(this.path, 'points.csv') };
  }

  /** Makes the folder for shards, and what stands above it. @throws FileError */
  async create(): Promise<void> {
    await this.inFolder(() => makeFolders(join(this.path, 'shards')));
  }

  /** Where the tasks of a cluster print to. */
  get logs(): string {
    return join(this.path, 'slurm');
  }

  /** Makes the folder of the logs. @throws FileError */
  async createLogs(): Promise<string> {
    await this.inFolder(() => makeFolders(this.logs));
    return this.logs;
  }

  hasTable(): boolean {
    return existsSync(this.table.parquet) && existsSync(this.table.csv);
  }

  hasShard(shard: string): boolean {
    return existsSync(this.shardFile(shard));
  }

  /** Hashes of the points of a shard that is not whole yet. */
  async finishedPoints(shard: string): Promise<Set<string>> {
    return new Set((await this.readJournals(shard)).keys());
  }

  /**
   * Keeps a finished point.
   * @param record a line of text, without its end
   * @throws FileError
   */
  async keepPoint(shard: string, hash: string, record: string): Promise<void> {
    const entry = `${hash} ${record}`;
    const line = `${sumOf(entry)} ${entry}\n`;
    for (let tries = 1; ; tries++) {
      try {
        appendLine(join(this.pointsOf(shard), `${this.writer}${JOURNAL}`), line);
        return;
      } catch (error) {
        // Half a line may be there now, which would spoil the next one.
        this.writer = randomUUID();
        // The folder is not there yet; or another process has packed the shard meanwhile, and cleared it away.
        if (this.hasShard(shard)) return;
        if (tries > 2) throw error;
        await this.inFolder(() => makeFolders(this.pointsOf(shard)));
      }
    }
  }

  /**
   * Puts the points of a shard into one file, and clears their journals away.
   * @param hashes of its points, in their order
   * @returns numbers within the shard of points that are missing or damaged; the shard is whole where there are none
   * @throws FileError
   */
  async packShard(shard: string, hashes: readonly string[]): Promise<number[]> {
    if (!this.hasShard(shard)) {
      const records = await this.readJournals(shard);
      const missing = hashes.flatMap((hash, i) => (records.has(hash) ? [] : [i]));
      // Another process may have packed it while its points were read.
      if (missing.length > 0 && !this.hasShard(shard)) return missing;
      if (missing.length === 0) {
        const packed = gzipSync(hashes.map((hash) => `${records.get(hash)}\n`).join(''));
        await writeAside(this.shardFile(shard), (aside) => writeFile(aside, packed));
      }
    }
    await removeUnlessInUse(this.pointsOf(shard));
    return [];
  }

  /**
   * The records of a whole shard.
   * @param count of its points
   * @throws FileError
   */
  async readShard(shard: string, count: number): Promise<unknown[]> {
    const path = this.shardFile(shard);
    try {
      const lines = gunzipSync(await readFile(path))
        .toString('utf8')
        .trimEnd()
        .split('\n');
      if (lines.length !== count) throw new Error(`${lines.length} points of ${count}`);
      return lines.map((line) => JSON.parse(line) as unknown);
    } catch (error) {
      throw new FileError(
        `${path}: found ${(error as Error).message}, allowed: a whole shard; remove the file and run the sweep again`,
      );
    }
  }

  /** Clears away what a finished sweep needs no longer. */
  async clearLeftovers(): Promise<void> {
    await removeUnlessInUse(join(this.path, 'points'));
    const isAbandoned = async (path: string) => Date.now() - (await stat(path)).mtimeMs > ABANDONED;
    for (const folder of [this.path, join(this.path, 'shards')]) await removeAsides(folder, isAbandoned);
  }

  /** Clears away files that this process was writing when it was told to stop. */
  async clearUnfinished(): Promise<void> {
    await removeAsides(join(this.path, 'shards'), (path) => path.includes(`.${process.pid}.`));
  }

  /** Records of a shard that is not whole yet, by the hash of their point. */
  private async readJournals(shard: string): Promise<Map<string, string>> {
    const folder = this.pointsOf(shard);
    const names = await readdir(folder).catch(() => []);
    const records = new Map<string, string>();
    for (const name of names.filter((name) => name.endsWith(JOURNAL))) {
      const text = await readFile(join(folder, name), 'utf8').catch(() => '');
      for (const line of text.split('\n')) {
        const entry = line.slice(SUM_LENGTH + 1);
        if (line.slice(0, SUM_LENGTH) !== sumOf(entry)) continue;
        const end = entry.indexOf(' ');
        records.set(entry.slice(0, end), entry.slice(end + 1));
      }
    }
    return records;
  }

  private pointsOf(shard: string): string {
    return join(this.path, 'points', shard);
  }

  private shardFile(shard: string): string {
    return join(this.path, 'shards', `${shard}.jsonl.gz`);
  }

  private async inFolder(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw new FileError(
        `${this.path}: found ${(error as Error).message}, allowed: a folder that can be written`,
      );
    }
  }
}

/** How the names of journals end. */
const JOURNAL = '.journal';

/** Characters of a line's sum. */
const SUM_LENGTH = 8;

/** A sum by which a line tells that it is whole: a killed process or a full disk can cut one off, a loss of power spoil it. */
function sumOf(text: string): string {
  return crc32(text).toString(16).padStart(SUM_LENGTH, '0');
}

/** Removes a folder; where another process puts something into it meanwhile, that process will. */
async function removeUnlessInUse(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true }).catch(() => undefined);
}

async function removeAsides(
  folder: string,
  wanted: (path: string) => boolean | Promise<boolean>,
): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((name) => name.startsWith('.') && name.endsWith(ASIDE))) {
    const path = join(folder, name);
    // Another process may have finished with it meanwhile.
    if (await Promise.resolve(wanted(path)).catch(() => false)) await rm(path, { force: true });
  }
}
