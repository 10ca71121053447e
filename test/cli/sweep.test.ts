import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { parquetReadObjects } from 'hyparquet';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { bytesOf } from '../shared.js';
import { epsim, main, root, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();

const list = (path: string, ...values: unknown[]) => ({ kind: 'list', path, values });
const sweepOf = (axes: object[], more: object = {}) => ({ scenario: small, axes, ...more });

/** 24 points that take a few milliseconds each. */
const sweep = sweepOf([list('policies[1].alpha', 1, 1.5), list('workload.tokensPerGpu', 16, 32, 64)], {
  seeds: 4,
});
const file = writeJson(folder, 'sweep.json', sweep);

/** The one folder of a sweep under `out`. */
function sweepFolder(out: string): string {
  const names = readdirSync(out);
  expect(names).toHaveLength(1);
  return join(out, names[0]);
}

const run = (out: string, ...args: string[]) => epsim(['sweep', file, '--out', out, ...args]);
const table = (path: string) =>
  ['points.parquet', 'points.csv'].map((name) => readFileSync(join(path, name)));
const lines = (path: string) => readFileSync(join(path, 'points.csv'), 'utf8').trimEnd().split('\n');

const whole = join(folder, 'whole');
const first = run(whole, '--jobs', '1');
const expected = table(sweepFolder(whole));

describe('epsim sweep', () => {
  it('writes one row per point and policy, in the order of the points, as CSV and Parquet', async () => {
    expect([first.status, first.stderr]).toEqual([0, '']);
    const path = sweepFolder(whole);
    expect(first.stdout).toBe(`24 points, 72 rows:\n  ${path}/points.parquet\n  ${path}/points.csv\n`);
    const rows = (await parquetReadObjects({ file: bytesOf(join(path, 'points.parquet')) })) as Record<
      string,
      unknown
    >[];
    expect(rows).toHaveLength(72);
    expect(rows.map(({ point, policy_kind }) => `${String(point)} ${String(policy_kind)}`)).toEqual(
      Array.from({ length: 24 }, (_, point) =>
        ['ep', 'llep', 'balanced'].map((kind) => `${point} ${kind}`),
      ).flat(),
    );
    // Point 17: the second alpha, the second batch, the second seed
    expect(rows[17 * 3 + 1]).toMatchObject({
      'policies[1].alpha': 1.5,
      'workload.tokensPerGpu': 32,
      seed: 8,
      policy: 'llep(alpha=1.5)',
      error: null,
    });
    const [header, ...csv] = lines(path);
    expect(csv).toHaveLength(72);
    expect(header.split(',')).toEqual(Object.keys(rows[0]));
  });

  it('says of every point what epsim run says of its scenario', async () => {
    const rows = (await parquetReadObjects({
      file: bytesOf(join(sweepFolder(whole), 'points.parquet')),
    })) as {
      scenario_json: string;
      inputs: string;
      step_mean_s: number;
    }[];
    const row = rows[23 * 3 + 1];
    const scenario = writeJson(folder, 'point.json', row.scenario_json);
    const result = JSON.parse(epsim(['run', scenario, '--format', 'json']).stdout) as {
      inputs: string;
      policies: { stepLatency: { mean: number } }[];
    };
    expect([result.inputs, result.policies[1].stepLatency.mean]).toEqual([row.inputs, row.step_mean_s]);
  });

  it('writes the same bytes with any number of jobs and shards', () => {
    const out = join(folder, 'two-jobs');
    expect(run(out, '--jobs', '2', '--points-per-shard', '5').status).toBe(0);
    expect(readdirSync(join(sweepFolder(out), 'shards'))).toHaveLength(5);
    expect(table(sweepFolder(out))).toEqual(expected);
  });

  it('computes nothing again', () => {
    const out = join(folder, 'again');
    cpSync(whole, out, { recursive: true });
    const path = sweepFolder(out);
    rmSync(join(path, 'points.csv'));
    // Were a point computed again, its thread would fail to keep it
    writeFileSync(join(path, 'points'), 'in the way');
    expect(run(out).status).toBe(0);
    expect(table(path)).toEqual(expected);
  });

  it('records points that fail, goes on, and ends with exit code 1', () => {
    const failing = writeJson(
      folder,
      'failing.json',
      sweepOf([list('cluster.gpus', 4, 12, 2), list('policies[1].alpha', 1, 2)]),
    );
    const out = join(folder, 'failing');
    const { status, stdout } = epsim(['sweep', failing, '--out', out]);
    expect(status).toBe(1);
    const error = 'scenario: cluster.gpus: found 12 GPUs in nodes of 8';
    expect(stdout).toContain(
      `2 points failed; they stand in the table with their error. The first: point 2: ${error}`,
    );
    const rows = lines(sweepFolder(out)).slice(1);
    expect(rows.map((row) => row.split(',')[0])).toEqual([
      '0',
      '0',
      '0',
      '1',
      '1',
      '1',
      '2',
      '3',
      '4',
      '4',
      '4',
      '5',
      '5',
      '5',
    ]);
    expect(rows[6]).toContain(error);
    // It is not tried again: only input errors make a point fail, and they stay
    expect(epsim(['sweep', failing, '--out', out]).stdout).toBe(stdout);
  });

  it('gives equal points equal rows, whichever was computed', () => {
    const equal = writeJson(
      folder,
      'equal.json',
      sweepOf([list('cluster.gpus', 4, 12, 4, 12)], { seeds: [7, 8, 7] }),
    );
    const out = join(folder, 'equal');
    expect(epsim(['sweep', equal, '--out', out, '--jobs', '2']).status).toBe(1);
    const rows = lines(sweepFolder(out)).slice(1);
    const of = (point: number) =>
      rows.filter((row) => row.startsWith(`${point},`)).map((row) => row.slice(`${point},`.length));
    expect([0, 3].map((point) => of(point).length)).toEqual([3, 1]);
    for (const [point, same] of [
      [0, 2],
      [0, 6],
      [3, 5],
      [4, 10],
    ]) {
      expect(of(same)).toEqual(of(point));
    }
    expect(of(1)).not.toEqual(of(0));
  });

  it('survives kill -9 at any moment, with the identical table', async () => {
    const out = join(folder, 'killed');
    const args = ['sweep', file, '--out', out, '--jobs', '1', '--points-per-shard', '3'];
    let delay = 150;
    let kills = 0;
    for (;;) {
      const child = spawn(process.execPath, [main, ...args], { stdio: 'ignore' });
      const timer = setTimeout(() => child.kill('SIGKILL'), delay);
      const signal = await new Promise((resolve) => child.on('exit', (_, by) => resolve(by)));
      clearTimeout(timer);
      if (signal === null) break;
      kills++;
      delay += Math.round(40 + 90 * Math.random());
    }
    expect(kills).toBeGreaterThan(3);
    const path = sweepFolder(out);
    expect(table(path)).toEqual(expected);
    // What was being written at such a moment stays aside, hidden, until it is an hour old
    expect(
      readdirSync(path)
        .filter((name) => !name.endsWith('.tmp'))
        .sort(),
    ).toEqual(['manifest.json', 'points.csv', 'points.parquet', 'shards']);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s stops it in order, with exit code %d', async (signal, code) => {
    const out = join(folder, signal);
    const long = writeJson(folder, 'long.json', { ...sweep, seeds: 5_000 });
    const child = spawn(process.execPath, [main, 'sweep', long, '--out', out, '--jobs', '2']);
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    const points = () =>
      existsSync(out) && readdirSync(out).some((name) => existsSync(join(out, name, 'points')));
    while (!points()) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill(signal);
    const status = await new Promise((resolve) => child.on('exit', resolve));
    expect([status, stderr]).toEqual([
      code,
      `stopped; what is finished is kept in ${sweepFolder(out)}, and the same command goes on from there\n`,
    ]);
    const left = readdirSync(sweepFolder(out), { recursive: true }) as string[];
    expect(left.filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('two at once in one folder share the work or repeat it, and write the identical table', async () => {
    const out = join(folder, 'at-once');
    const args = ['sweep', file, '--out', out, '--jobs', '1', '--points-per-shard', '2'];
    const both = [1, 2].map(() => {
      const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
      return new Promise((resolve) => child.on('exit', resolve));
    });
    expect(await Promise.all(both)).toEqual([0, 0]);
    expect(table(sweepFolder(out))).toEqual(expected);
  });

  it('two different ones in one folder keep apart', () => {
    const out = join(folder, 'apart');
    const other = writeJson(folder, 'other.json', { ...sweep, seeds: 1 });
    expect([run(out).status, epsim(['sweep', other, '--out', out]).status]).toEqual([0, 0]);
    const names = readdirSync(out);
    expect(names).toHaveLength(2);
    expect(names.map((name) => lines(join(out, name)).length).sort()).toEqual([19, 73]);
    expect(names.map((name) => table(join(out, name)).join())).toContain(expected.join());
  });

  it('replaces what a loss of power has cut off', () => {
    const out = join(folder, 'cut');
    expect(run(out, '--jobs', '1').status).toBe(0);
    const path = sweepFolder(out);
    const [shard] = readdirSync(join(path, 'shards'));
    const kept = execFileSync('gunzip', ['-c', join(path, 'shards', shard)], { encoding: 'utf8' });
    // As if its points had just been finished, and one not reached the disk
    rmSync(join(path, 'shards', shard));
    const points = join(path, 'points', shard.replace('.jsonl.gz', ''));
    mkdirSync(points, { recursive: true });
    const entries = kept
      .trimEnd()
      .split('\n')
      .map((record) => `${(JSON.parse(record) as { hash: string }).hash} ${record}`)
      .map((entry) => `${crc32(entry).toString(16).padStart(8, '0')} ${entry}`);
    // One line spoilt in its middle, one cut off at the end of its file
    entries[5] = entries[5].replace('"policies"', '"\0\0licies"');
    const [spoilt, cut] = [entries.slice(0, 12).join('\n'), entries.slice(12).join('\n').slice(0, -40)];
    writeFileSync(join(points, 'one.journal'), `${spoilt}\n`);
    writeFileSync(join(points, 'other.journal'), cut);
    const begun = epsim(['sweep', 'status', path]).stdout;
    expect(begun).toContain(`${entries.length - 2} of 24 points are finished`);
    rmSync(join(path, 'points.parquet'));
    expect(run(out).status).toBe(0);
    expect(table(path)).toEqual(expected);
  });

  it('a shard that is damaged is named', () => {
    const out = join(folder, 'damaged');
    cpSync(whole, out, { recursive: true });
    const path = sweepFolder(out);
    const shard = join(path, 'shards', readdirSync(join(path, 'shards'))[0]);
    truncateSync(shard, 100);
    const { status, stderr } = run(out);
    expect([status, stderr]).toEqual([2, expect.stringContaining(`${shard}: found unexpected end of file`)]);
    rmSync(shard);
    expect(run(out).status).toBe(0);
    expect(table(path)).toEqual(expected);
  });

  it('a full disk stops it with a message; with room again it goes on', ({ skip }) => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status === 0;
    skip(!mounted, 'no disk can be mounted here');
    try {
      const { status, stderr } = epsim(['sweep', file, '--out', disk, '--jobs', '2']);
      expect([status, stderr]).toEqual([
        2,
        expect.stringMatching(/: found no space left on the disk, allowed:/),
      ]);
      const left = readdirSync(disk, { recursive: true }) as string[];
      const finished = epsim(['sweep', 'status', sweepFolder(disk)]).stdout;
      expect(Number(/(\d+) of 24 points/.exec(finished)![1])).toBeGreaterThan(3);
      expect(left.filter((name) => /points\.(csv|parquet)$/.test(name))).toEqual([]);
      spawnSync('mount', ['-o', 'remount,size=8m', disk]);
      expect(epsim(['sweep', file, '--out', disk]).status).toBe(0);
      expect(table(sweepFolder(disk))).toEqual(expected);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});

describe('shards of a sweep', () => {
  const out = join(folder, 'by-hand');

  it('are set up, computed one by one by number or variable, listed and merged', () => {
    const { stdout, status } = epsim(['sweep', 'manifest', file, '--out', out, '--points-per-shard', '7']);
    const path = stdout.trim();
    expect([status, path]).toEqual([0, sweepFolder(out)]);
    const missing = () => epsim(['sweep', 'missing', path]).stdout.trim();
    expect(missing()).toBe('0-3');
    expect(epsim(['sweep', 'shard', path, '1']).status).toBe(0);
    expect(missing()).toBe('0,2-3');
    expect(epsim(['sweep', 'missing', path, '--lines']).stdout).toBe('0\n2\n3\n');
    expect(epsim(['sweep', 'shard', path], { env: { SLURM_ARRAY_TASK_ID: '0' } }).status).toBe(0);
    expect(epsim(['sweep', 'shard', path], { env: { JOB_COMPLETION_INDEX: '3' } }).status).toBe(0);
    expect(epsim(['sweep', 'status', path]).stdout).toBe(
      '3 of 4 shards are whole, 0 begun\n17 of 24 points are finished\nThe table is not written yet.\n',
    );
    const early = epsim(['sweep', 'merge', path]);
    expect([early.status, early.stderr]).toEqual([
      2,
      `${path}: found no shards 2, allowed: all of them; compute them first\n`,
    ]);
    expect(epsim(['sweep', 'shard', path, '0', '2']).status).toBe(0);
    expect([missing(), epsim(['sweep', 'merge', path]).status]).toEqual(['', 0]);
    expect(table(path)).toEqual(expected);
  });

  it('are refused where they are not, and where something else would be computed', () => {
    const path = sweepFolder(out);
    const refusal = (args: string[]) => {
      const { status, stderr } = epsim(['sweep', ...args]);
      return [status, stderr];
    };
    expect(refusal(['shard', path, '4'])).toEqual([2, 'shard: found 4, allowed: 0 to 3\n']);
    expect(refusal(['shard', path, 'x'])).toEqual([2, "shard: found 'x', allowed: a whole number ≥ 0\n"]);
    expect(refusal(['shard', path])[1]).toContain('shard: found no number, allowed: one or more');
    expect(refusal(['status', folder])[1]).toContain('manifest.json: found no such file or folder');
    const manifest = join(path, 'manifest.json');
    const text = readFileSync(manifest, 'utf8');
    writeFileSync(manifest, text.replace(/"version": "[^"]*"/, '"version": "0.0.9"'));
    expect(refusal(['missing', path])[1]).toContain('version: found a sweep of epsim 0.0.9 on V8');
    writeFileSync(manifest, text);
  });
});

describe('a sweep with files', () => {
  it('finds them beside the scenario, shares them, and refuses to go on with others', () => {
    mkdirSync(join(folder, 'there'), { recursive: true });
    cpSync(join(root, 'traces/quickstart.parquet'), join(folder, 'there/trace.parquet'));
    const scenario = JSON.parse(readFileSync(join(root, 'scenarios/quickstart.json'), 'utf8')) as {
      workload: { routing: { path: string }; steps: number };
      resamples?: number;
    };
    scenario.workload.routing.path = 'trace.parquet';
    scenario.workload.steps = 2;
    scenario.resamples = 0;
    writeJson(folder, 'there/scenario.json', scenario);
    const traced = writeJson(folder, 'traced.json', {
      scenario: 'there/scenario.json',
      axes: [list('workload.tokensPerGpu', 64, 128)],
    });
    const out = join(folder, 'traced');
    const { stdout } = epsim(['sweep', 'manifest', traced, '--out', out, '--points-per-shard', '1']);
    const path = stdout.trim();
    expect(epsim(['sweep', 'shard', path, '0', '--jobs', '2']).status).toBe(0);
    const trace = join(folder, 'there/trace.parquet');
    writeFileSync(trace, readFileSync(trace).subarray(0, 1000));
    const { status, stderr } = epsim(['sweep', 'shard', path, '1']);
    expect(status).toBe(2);
    expect(stderr).toContain('trace.parquet');
  });

  it('looks for every file that an axis names before anything runs', () => {
    const { status, stderr } = epsim([
      'sweep',
      writeJson(
        folder,
        'lost.json',
        sweepOf([list('workload.routing', small.workload.routing, { kind: 'trace', path: 'lost.parquet' })]),
      ),
      '--out',
      join(folder, 'lost'),
    ]);
    expect([status, existsSync(join(folder, 'lost'))]).toEqual([2, false]);
    expect(stderr).toContain('lost.parquet: found no such file or folder');
  });
});

it('says what is wrong with a sweep file in one line', () => {
  const { status, stderr } = epsim([
    'sweep',
    writeJson(folder, 'bad.json', sweepOf([list('seed', 1)], { seeds: 2 })),
  ]);
  expect([status, stderr]).toEqual([
    2,
    `${join(folder, 'bad.json')}: axes: found seed twice, allowed: every path once\n`,
  ]);
  const jobs = run(join(folder, 'none'), '--jobs', '0');
  expect([jobs.status, jobs.stderr]).toEqual([2, "--jobs: found '0', allowed: a whole number ≥ 1\n"]);
});

describe('--executor slurm', () => {
  it('says what is missing where there is no Slurm', () => {
    const out = join(folder, 'no-slurm');
    const { status, stderr } = epsim(['sweep', file, '--out', out, '--executor', 'slurm'], {
      env: { PATH: '' },
    });
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining('squeue: found no such command, allowed: a machine'),
    ]);
  });

  it.each([
    [['--executor', 'slurm', '--jobs', '2'], '--jobs: found with --executor slurm, allowed: --cpus-per-task'],
    [['--time', '10'], '--time: found with --executor local, allowed: with --executor slurm'],
    [
      ['--array-throttle', '4'],
      '--array-throttle: found with --executor local, allowed: with --executor slurm',
    ],
  ])('%j is refused', (args, message) => {
    const { status, stderr } = epsim(['sweep', file, ...args]);
    expect([status, stderr]).toEqual([2, `${message}\n`]);
  });
});

describe('the table of a sweep', () => {
  const path = sweepFolder(whole);

  const hasDuckDb = existsSync(join(root, 'node_modules/@duckdb/node-api'));
  if (!hasDuckDb) {
    const message = 'the optional package @duckdb/node-api is not installed: the test of queries is left out';
    if (process.env.EPSIM_REQUIRE_DUCKDB === '1') throw new Error(message);
    console.warn(message);
  }

  it.skipIf(!hasDuckDb)('is asked in SQL', () => {
    const sql =
      "SELECT seed, count(*) AS rows FROM points WHERE policy_kind = 'llep' GROUP BY seed ORDER BY seed";
    const { stdout } = epsim(['sweep', 'query', path, sql, '--format', 'csv']);
    expect(stdout).toBe('seed,rows\n7,6\n8,6\n9,6\n10,6\n');
    const json = epsim(['sweep', 'query', path, 'SELECT max(point) AS last FROM points', '--format', 'json']);
    expect(JSON.parse(json.stdout)).toEqual([{ last: 23 }]);
    const wrong = epsim(['sweep', 'query', path, 'SELEC']);
    expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining('query: Parser Error')]);
  });

  it('says what to install where DuckDB is missing', () => {
    const hooks = `export async function resolve(name, context, next) {
      if (!name.startsWith('@duckdb')) return next(name, context);
      throw Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' });
    }`;
    const loader = join(folder, 'without-duckdb.mjs');
    writeFileSync(
      loader,
      `import { register } from 'node:module';\nregister('data:text/javascript,${encodeURIComponent(hooks).replaceAll("'", '%27')}');\n`,
    );
    const { status, stderr } = epsim(['sweep', 'query', path, 'SELECT 1'], {
      env: { NODE_OPTIONS: `--import ${loader}` },
    });
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(/^the optional package @duckdb\/node-api is not installed: npm install @duckdb/),
    ]);
  });

  it('is drawn, the same again, as SVG and HTML', () => {
    const [svg, html] = ['plot.svg', 'plot.html'].map((name) => join(folder, name));
    const axes = ['--x', 'workload.tokensPerGpu', '--where', 'policies[1].alpha=1'];
    const plot = (out: string) => epsim(['sweep', 'plot', path, '--kind', 'lines', ...axes, '--out', out]);
    expect(plot(svg).stderr).toBe(`wrote ${svg}\n`);
    const picture = readFileSync(svg, 'utf8');
    expect(picture).toContain('tokensPerGpu');
    plot(svg);
    expect(readFileSync(svg, 'utf8')).toBe(picture);
    expect(plot(html).status).toBe(0);
    expect(readFileSync(html, 'utf8')).toContain(
      '<svg role="img" aria-label="small; its numbers follow in a table"',
    );
    const refused = epsim(['sweep', 'plot', path, '--kind', 'lines', '--out', svg]);
    expect([refused.status, refused.stderr]).toEqual([
      2,
      '--x: found nothing, allowed: policies[1].alpha, workload.tokensPerGpu, seed\n',
    ]);
  });
});
