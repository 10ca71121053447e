import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { loadBars } from '../../src/report/index.js';
import { epsim, main, small, workFolder, writeJson } from '../cli/epsim.js';
import { byHand, handFile, record } from './record.js';

const mark = (bar: string) => `[${bar}]`;

describe('bars of a terminal', () => {
  it('on one scale, up to 14 copies: 12 and 8 are seven and five eighths, the fullest marked', async () => {
    const { result, recording } = await record(byHand(), { file: handFile });
    const lines = loadBars(result, recording, { columns: 80, ascii: false, mark }).split('\n');
    expect(lines[0]).toBe('Copies per GPU, the fullest of every layer and step first (means)');
    expect(lines[1]).toMatch(/^ {2}ep +\[▇\]▅ {2}12 to 8$/);
    // 10 of 14 copies, on both
    expect(lines[2]).toMatch(/^ {2}llep\(minTokensPerGemm=1.*… +▆▆ {2}10$/);
    expect(lines[3]).toMatch(/^ {2}replicate-quantize.* +\[█\]▃ {2}14 to 6$/);
  });

  it('in ASCII where the terminal shows no more, cut names too', async () => {
    const { result, recording } = await record(byHand(), { file: handFile });
    const text = loadBars(result, recording, { columns: 80, ascii: true, mark: (bar) => bar });
    expect(text).toMatch(/^[\n -~]*$/);
    expect(text.split('\n')[3]).toMatch(/@- {2}14 to 6$/);
  });

  it('tell nothing from little', async () => {
    const { result, recording } = await record(byHand(), { file: handFile });
    const [ep] = recording.policies;
    const drawn = loadBars(
      result,
      { ...recording, policies: [{ ...ep, rankedLoads: [1000, 3, 0] }] },
      { columns: 50, ascii: false, mark: (bar) => bar },
    );
    expect(drawn.split('\n')[1]).toMatch(/█▁·$/);
  });

  it('show a skew that moves from layer to layer, which sums by GPU hide, as γ does', async () => {
    const { result, recording } = await record({
      ...small,
      workload: {
        ...small.workload,
        layer: 'all',
        steps: 40,
        routing: { kind: 'zipf', exponent: 1, redraw: 'step' },
      },
      policies: ['ep'],
    });
    const { rankedLoads, loads } = recording.policies[0];
    const skew = (own: readonly number[]) =>
      (Math.max(...own) * own.length) / own.reduce((sum, load) => sum + load, 0);
    expect(skew(rankedLoads)).toBeCloseTo(result.policies[0].imbalance.gpu.after.maxOverMean, 12);
    expect(skew(loads[0])).toBeLessThan(skew(rankedLoads) - 0.1);
  });

  it('fit into a narrow window: neighbours share a bar, which shows the fuller', async () => {
    const { result, recording } = await record({
      ...small,
      model: { ...small.model, experts: 64 },
      cluster: { gpu: 'h100', gpus: 64, gpusPerNode: 8 },
    });
    for (const columns of [20, 40, 79, 200]) {
      const text = loadBars(result, recording, { columns, ascii: false, mark: (bar) => bar });
      for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(columns);
      if (columns < 70) expect(text).toMatch(/ a bar|…/);
      expect(text.split('\n')).toHaveLength(4);
      expect(text.includes('█')).toBe(true);
    }
  });
});

/** Runs a command line on a terminal of its own; Node takes one for colourless where CI is set. */
function onTerminal(command: string, env: NodeJS.ProcessEnv) {
  const neutral = { CI: undefined, NO_COLOR: undefined, FORCE_COLOR: undefined, TERM: 'xterm-256color' };
  const { stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
    encoding: 'utf8',
    env: { ...process.env, ...neutral, ...env },
  });
  return stdout;
}

const hasScript = spawnSync('script', ['--version']).status === 0;

describe('epsim run', () => {
  const folder = workFolder();
  const scenario = writeJson(folder, 'small.json', small);
  const run = `stty cols 100; '${process.execPath}' '${main}' run '${scenario}'`;

  it('prints no bars where stdout is no terminal', () => {
    expect(epsim(['run', scenario]).stdout).not.toContain('Copies per GPU');
  });

  it.skipIf(!hasScript)(
    'draws bars on a terminal, without colours where NO_COLOR is set, none on a dumb one',
    () => {
      const coloured = onTerminal(run, {});
      expect(coloured).toContain('Copies per GPU');
      expect(coloured).toContain('\u001b[');
      const plain = onTerminal(run, { NO_COLOR: '1' });
      expect(plain).toContain('Copies per GPU');
      expect(plain).not.toContain('\u001b[');
      expect(onTerminal(run, { TERM: 'dumb' })).not.toContain('Copies per GPU');
      expect(onTerminal(run, { LC_ALL: 'C', NO_COLOR: '1' })).toMatch(/ {2}ep +@[^ ]* {2}/);
      const lines = plain.trimEnd().split(/\r?\n/);
      expect(lines.at(-1)).toMatch(/^(Use|Stay with) /);
      expect(onTerminal(`${run} --format json`, {})).not.toContain('Copies per GPU');
    },
  );

  it.skipIf(!hasScript)('a table wider than the window stands in blocks, with every cell', () => {
    const piped = epsim(['run', scenario]).stdout;
    const narrow = onTerminal(run.replace('cols 100', 'cols 70'), { NO_COLOR: '1' }).split(/\r?\n/);
    const tableAt = narrow.indexOf('Exact policies');
    const block = narrow.slice(tableAt, narrow.indexOf('', tableAt));
    for (const line of block) expect(line.length).toBeLessThanOrEqual(70);
    const cells = (text: string) => text.split(/ {2,}/).filter(Boolean);
    const start = piped.indexOf('Exact policies');
    const all = cells(piped.slice(start, piped.indexOf('\n\n', start)).replaceAll('\n', '  '));
    expect(new Set(cells(block.join('  ')))).toEqual(new Set(all));
  });
});
