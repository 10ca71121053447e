import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { epsim, main, root, small, workFolder, writeJson } from '../cli/epsim.js';

const isThere = spawnSync('slurmctld', ['-V']).status === 0 && process.getuid?.() === 0;
if (!isThere) {
  const message = 'no slurmctld, or not root: tests on a cluster are left out';
  if (process.env.EPSIM_REQUIRE_SLURM === '1') throw new Error(message);
  console.warn(message);
}

const folder = workFolder();
const place = join(folder, 'cluster');
const script = join(root, 'tools/slurm-test-cluster.sh');
const env = { ...process.env, SLURM_CONF: join(place, 'slurm.conf'), EPSIM_SLURM_PORT: '17100' };

/** 60 points in 12 shards of a second or two. */
const file = writeJson(folder, 'sweep.json', {
  name: 'on a cluster',
  scenario: {
    ...small,
    model: 'gpt-oss-120b',
    cluster: { gpu: 'h200', gpus: 8 },
    workload: { ...small.workload, tokensPerGpu: 2048, steps: 400 },
  },
  axes: [{ kind: 'list', path: 'policies[1].alpha', values: [1, 1.25, 1.5] }],
  seeds: 20,
});

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const slurm = (command: string, ...args: string[]) => execFileSync(command, args, { env, encoding: 'utf8' });

/** The one folder of a sweep under `out`. */
const sweepFolder = (out: string) => join(out, readdirSync(out)[0]);

/** Process ids whose command line holds all of these words. */
function processesOf(...words: string[]): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words.every((word) => line.includes(word));
      } catch {
        return false;
      }
    })
    .map(Number);
}

const nonEmpty = <T>(found: T[]) => (found.length > 0 ? found : undefined);

/** The process that has started this one. */
function parentOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
}

/** Waits until `look` finds something. */
async function until<T>(look: () => T | undefined | false): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await sleep(100);
  }
  throw new Error('waited for a minute in vain');
}

describe.skipIf(!isThere)('a sweep on a cluster of three nodes', () => {
  beforeAll(() => void execFileSync(script, ['start', place], { env }));
  afterAll(() => void execFileSync(script, ['stop', place], { env }));

  it('completes with a task killed and a node lost half-way: nothing lost, nothing twice', async () => {
    const alone = join(folder, 'alone');
    expect(epsim(['sweep', file, '--out', alone]).status).toBe(0);

    const out = join(folder, 'out');
    const args = ['sweep', file, '--out', out, '--executor', 'slurm', '--points-per-shard', '5', '--wait'];
    const waiting = spawn(process.execPath, [main, ...args, '--time', '5', '--memory', '500M'], { env });
    let said = '';
    for (const stream of [waiting.stdout, waiting.stderr])
      stream.on('data', (text: Buffer) => (said += text.toString()));
    const exit = new Promise((resolve) => waiting.on('exit', resolve));

    // A task that runs
    const [killed] = await until(() => existsSync(out) && nonEmpty(processesOf('shard', sweepFolder(out))));
    process.kill(killed, 'SIGKILL');

    // A node in the middle of a shard, once a part of the sweep is done: the task, its script, Slurm's own processes
    await until(() => readdirSync(join(sweepFolder(out), 'shards')).length >= 3);
    const task = await until(() => {
      const shard = slurm('squeue', '-h', '-t', 'R', '-w', 'node2', '-o', '%K').trim();
      const [pid] = processesOf('shard', sweepFolder(out), shard);
      if (shard === '' || pid === undefined) return undefined;
      process.kill(pid, 'SIGSTOP');
      const prefix = `${shard.padStart(6, '0')}-`;
      if (!readdirSync(join(sweepFolder(out), 'shards')).some((name) => name.startsWith(prefix))) return pid;
      process.kill(pid, 'SIGCONT');
      return undefined;
    });
    const batchScript = parentOf(task);
    const daemon = Number(readFileSync(join(place, 'run/node2.pid'), 'utf8'));
    for (const pid of [daemon, parentOf(batchScript), batchScript, task]) process.kill(pid, 'SIGKILL');

    expect([await exit, said]).toEqual([0, expect.stringContaining('60 points, 180 rows')]);

    expect(readFileSync(join(place, 'log/slurmctld.log'), 'utf8')).toContain('due to failure of node node2');
    const path = sweepFolder(out);
    for (const name of ['points.parquet', 'points.csv']) {
      expect(readFileSync(join(path, name)).equals(readFileSync(join(sweepFolder(alone), name)))).toBe(true);
    }
    const hashes = readdirSync(join(path, 'shards'))
      .filter((name) => !name.startsWith('.'))
      .flatMap((name) =>
        gunzipSync(readFileSync(join(path, 'shards', name)))
          .toString()
          .trimEnd()
          .split('\n'),
      )
      .map((line) => (JSON.parse(line) as { hash: string }).hash);
    expect([hashes.length, new Set(hashes).size]).toEqual([60, 60]);
    const logs = readdirSync(join(path, 'slurm')).map((name) =>
      readFileSync(join(path, 'slurm', name), 'utf8'),
    );
    expect(logs.join('')).toContain('ended with exit code 137; back into the queue');
  }, 175_000);
});
