import { existsSync, readFileSync, rmSync } from 'node:fs';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { FileError } from './file-error.js';
import { ASIDE, makeFolders, writeAside, writeWholeAtOnce } from './write.js';

/** Milliseconds after which nobody is still writing a file. */
const ABANDONED = 3_600_000;

/**
 * The folder of one sweep. Any number of processes, on any number of machines, may work in it: every file is
 * written aside and renamed, and whoever writes it writes the same bytes.
 *
 * - `manifest.json`: what is to be done
 * - `points/<shard>/<hash>.json`: finished points of shards that are not yet whole
 * - `shards/<shard>.jsonl.gz`: whole shards, a line per point in their order; their points' files are gone
 * - `points.parquet`, `points.csv`: the result
 * - `slurm/`: what tasks of a cluster print
 */
export class SweepFolder {
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
    const names = await readdir(this.pointsOf(shard)).catch(() => []);
    return new Set(
      names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length)),
    );
  }

  /** Keeps a finished point. @throws FileError */
  async keepPoint(shard: string, hash: string, line: string): Promise<void> {
    const path = join(this.pointsOf(shard), `${hash}.json`);
    for (let tries = 1; ; tries++) {
      try {
        writeWholeAtOnce(path, line);
        return;
      } catch (error) {
        // The folder is not there yet; or another process has packed the shard meanwhile, and cleared it away.
        if (this.hasShard(shard)) return;
        if (tries > 2) throw error;
        await this.inFolder(() => makeFolders(this.pointsOf(shard)));
      }
    }
  }

  /**
   * Puts the points of a shard into one file, and clears theirs away.
   * @param hashes of its points, in their order
   * @returns numbers within the shard of points that are missing or damaged; the shard is whole where there are none
   * @throws FileError
   */
  async packShard(shard: string, hashes: readonly string[]): Promise<number[]> {
    if (!this.hasShard(shard)) {
      const missing: number[] = [];
      const lines: string[] = [];
      for (const [i, hash] of hashes.entries()) {
        const path = join(this.pointsOf(shard), `${hash}.json`);
        const line = textOf(path);
        if (isRecordOf(hash, line)) lines.push(line);
        else {
          rmSync(path, { force: true });
          missing.push(i);
        }
      }
      // Another process may have packed it while its points were read.
      if (missing.length > 0 && !this.hasShard(shard)) return missing;
      if (missing.length === 0) {
        const packed = gzipSync(lines.join(''));
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
    const shards = await readdir(join(this.path, 'points')).catch(() => []);
    const isOurs = (path: string) => path.includes(`.${process.pid}.`);
    for (const shard of shards) await removeAsides(this.pointsOf(shard), isOurs);
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

/** What a file holds; nothing where it can't be read. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Whether a line is whole: a loss of power can leave an empty file. */
function isRecordOf(hash: string, line: string): boolean {
  return line.endsWith('}\n') && line.includes(`"hash":"${hash}"`);
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
