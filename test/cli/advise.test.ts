/** `epsim advise` as users run it: answers, the commands that repeat them, and what can't be answered. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Result } from '../../src/index.js';
import type { Advice } from '../../src/advice/index.js';
import { epsim, main, root, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
const quickstart = 'scenarios/quickstart.json';

function advise(args: string[], cwd = root): Advice {
  const { status, stdout, stderr } = epsim(['advise', ...args, '--format', 'json'], { cwd });
  expect(stderr).not.toContain('found');
  expect(status).toBe(0);
  return JSON.parse(stdout) as Advice;
}

/** What a shell prints for a command that an answer gives. */
function repeat(command: string, cwd = root): Result {
  const epsimInShell = `epsim() { '${process.execPath}' '${main}' "$@"; }\n`;
  const { stdout, status } = spawnSync('bash', ['-c', `${epsimInShell}${command} --format json`], {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  expect(status).toBe(0);
  return JSON.parse(stdout) as Result;
}

const generated = writeJson(folder, 'generated.json', {
  ...small,
  workload: {
    ...small.workload,
    tokensPerGpu: 2048,
    steps: 6,
    routing: { kind: 'log-normal', sigma: 1, redraw: 'run' },
  },
  policies: ['ep', 'llep'],
});

describe('epsim advise on a recording', () => {
  const { questions } = advise([
    quickstart,
    '--only',
    'worth-it-prefill',
    '--only',
    'redundancy',
    '--only',
    'other-trace',
    '--only',
    'interval',
  ]);
  const of = (wanted: string) => questions.find(({ name }) => name === wanted)!;

  it('gives one sentence with figures, and the command that repeats them to the digit', () => {
    const { sentence, rows, commands } = of('worth-it-prefill').answer!;
    expect(sentence).toMatch(
      /^(Yes|No|Not beyond doubt) at 2048 tokens per GPU: .*forced balance would be 1\.\d\d× \[/,
    );
    expect(sentence.split('. ')).toHaveLength(1);
    const result = repeat(commands.at(-1)!);
    const speedups = new Map(result.policies.map(({ policy, speedup }) => [policy.kind, speedup.mean]));
    expect(rows.find(({ policy }) => policy === 'llep')!.speedup).toBe(speedups.get('llep'));
    expect(rows.find(({ policy }) => policy === 'balanced')!.speedup).toBe(speedups.get('balanced'));
    const wasted = result.balance!.before.gpu.steps.wastedShare;
    expect(sentence).toContain(`is ${(100 * wasted).toFixed(1)} %`);
  });

  it('scores on tokens that neither the plan nor the choice has seen', () => {
    const [choice, score] = of('redundancy').answer!.commands;
    expect(choice).toContain("--set 'workload.routing.part=[0.25,0.5]'");
    expect(choice).toContain('"share":0.25');
    expect(score).not.toContain('part=');
    const result = repeat(score);
    expect(result.routing.calibration).toContain('of the recording');
    // 115,200 tokens, of which the first half, in whole sequences, plans: three steps of 8 · 2048 are left.
    expect(result.routing.steps).toBe(3);
  });

  it('prices redundant experts: an expert of gpt-oss-20b in each of 24 layers', () => {
    const rows = of('redundancy').answer!.rows;
    // 3 · 2880 · 2880 weights of 2 bytes; K and V of 8 heads of 64 in the 12 layers that see everything.
    const bytes = 24 * 3 * 2880 * 2880 * 2;
    expect(rows[1]).toMatchObject({ redundantPerGpu: 1, replicaBytesPerGpu: bytes });
    const all = bytes + (rows[1].moreBufferBytesPerGpu as number);
    expect(rows[1].kvTokensPerGpu).toBe(Math.round(all / (12 * 2 * 8 * 64 * 2)));
  });

  it('says why it can’t answer', () => {
    expect(of('interval').because).toContain('the shortest interval tried, 10, needs 30');
    expect(of('other-trace').because).toContain('--other <trace>');
    const { stdout } = epsim(['advise', quickstart, '--only', 'other-trace']);
    expect(stdout).toMatch(/Can’t be answered\n {2}Does a placement .* Because no other trace was given/);
  });
});

describe('epsim advise on generated routing', () => {
  it('chooses an interval on steps of the same popularity that follow those that score it', () => {
    const [{ answer }] = advise([generated, '--only', 'interval']).questions;
    const [choice, score] = answer!.commands;
    expect(choice).toContain('workload.steps=600 --set workload.warmupSteps=300');
    expect(score).toContain('workload.steps=300');
    expect(`${choice}${score}`).not.toContain('seed=');
    expect(answer!.sentence).toMatch(
      /^Every \d+ steps, (blocking|async): \d\.\d\d× \[.*planning and moving stall a layer by/,
    );
    const rows = answer!.rows as { interval: number; movement: string; stallSecondsPerStep: number }[];
    const stall = (interval: number, movement: string) =>
      rows.find((row) => row.interval === interval && row.movement === movement)!.stallSecondsPerStep;
    // A tenth of the plans costs about a tenth; in the background nothing waits for them.
    expect(stall(10, 'blocking')).toBeGreaterThan(2 * stall(100, 'blocking'));
    expect(stall(100, 'async')).toBe(0);
  });

  it('refuses what scope layer can’t know, with the reason', () => {
    const [{ because }] = advise([generated, '--only', 'experts-or-attention']).questions;
    expect(because).toContain('attention');
  });

  it('compares EP sizes, and sliced experts with whole ones under the same runtime', () => {
    const [{ answer }] = advise([generated, '--only', 'ep-size']).questions;
    const rows = answer!.rows as { gpus: number; tensorParallel: number; runtime: string }[];
    expect(rows.map(({ gpus }) => gpus)).toEqual([2, 2, 4, 4, 8, 8, 4, 4, 4]);
    expect(rows.map(({ tensorParallel }) => tensorParallel)).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 4]);
    expect(new Set(rows.slice(6).map(({ runtime }) => runtime)).size).toBe(1);
    expect(answer!.sentence).toMatch(
      /Tensor parallel, 4 GPUs to an expert: [\d,]+ \[[\d,]+, [\d,]+\], \d\.\d\d× \[[\d., ]+\] what ep with whole experts has under the same runtime/,
    );
  });
});

describe('epsim advise --other', () => {
  it('keeps the gain where the other trace is the same kind of traffic, and loses it where it is not', () => {
    const skewed = (seed: number, name: string, tokensPerGpu = 2048) => {
      const scenario = writeJson(folder, `${name}.json`, {
        ...small,
        workload: {
          phase: 'prefill',
          tokensPerGpu,
          steps: 12,
          routing: { kind: 'log-normal', sigma: 1.2, redraw: 'run' },
        },
        seed,
      });
      expect(epsim(['trace', 'record', scenario, '--out', join(folder, `${name}.parquet`)]).status).toBe(0);
      return `${name}.parquet`;
    };
    // The same seed has the same popularity, and other draws where batches are of another size.
    const [here, alike, elsewhere] = [skewed(1, 'here'), skewed(1, 'alike', 2000), skewed(2, 'elsewhere')];
    writeFileSync(
      join(folder, 'replay.json'),
      JSON.stringify({
        ...small,
        workload: { phase: 'prefill', routing: { kind: 'trace', path: here } },
      }),
    );
    const ask = (other: string) =>
      advise(['replay.json', '--only', 'other-trace', '--other', other], folder).questions[0].answer!;
    expect(ask(alike).sentence).toMatch(/^Yes: on alike\.parquet/);
    const [{ because }] = advise(['replay.json', '--only', 'other-trace', '--other', here], folder).questions;
    expect(because).toContain("the other trace is the scenario's own recording");
    const foreign = ask(elsewhere);
    expect(foreign.sentence).toMatch(/^No: on elsewhere\.parquet/);
    const result = repeat(foreign.commands.at(-1)!, folder);
    const file = result.policies.find(({ policy }) => policy.kind === 'combination')!;
    expect(file.speedup.mean).toBe(foreign.rows[0].speedup);
  });

  it('says which question there is not', () => {
    const { status, stdout, stderr } = epsim(['advise', generated, '--only', 'best']);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain("--only: found 'best', allowed: worth-it-prefill, worth-it-decode");
  });
});
