import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { loadBars } from '../../src/report/index.js';
import { epsim, main, small, workFolder, writeJson } from '../cli/epsim.js';
import { byHand, handFile, record } from './record.js';

const mark = (bar: string) => `[${bar}]`;

describe('bars of a terminal', () => {
  it('on one scale, up to 14 copies: 12 and 8 are seven and five eighths, the fullest marked', async () => {
    const { result, recording } = await record(byHand(), { file: handFile });
    const lines = loadBars(result, recording, { columns: 80, mark }).split('\n');
    expect(lines[0]).toBe('Copies by GPU, mean per step, one bar per GPU');
    expect(lines[1]).toMatch(/^ {2}ep +\[▇\]▅$/);
    // 10 of 14 copies, on both
    expect(lines[2]).toMatch(/^ {2}llep\(minTokensPerGemm=1.*… +▆▆$/);
    expect(lines[3]).toMatch(/^ {2}replicate-quantize.* +▄\[█\]$/);
  });

  it('fit into a narrow window: neighbours share a bar, which shows the fuller', async () => {
    const { result, recording } = await record({
      ...small,
      model: { ...small.model, experts: 64 },
      cluster: { gpu: 'h100', gpus: 64, gpusPerNode: 8 },
    });
    for (const columns of [20, 40, 79, 200]) {
      const text = loadBars(result, recording, { columns, mark: (bar) => bar });
      for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(columns);
      if (columns < 70) expect(text).toMatch(/\(their|one bar per|…/);
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
    expect(epsim(['run', scenario]).stdout).not.toContain('Copies by GPU');
  });

  it.skipIf(!hasScript)(
    'draws bars on a terminal, without colours where NO_COLOR is set, none on a dumb one',
    () => {
      const coloured = onTerminal(run, {});
      expect(coloured).toContain('Copies by GPU');
      expect(coloured).toContain('\u001b[');
      const plain = onTerminal(run, { NO_COLOR: '1' });
      expect(plain).toContain('Copies by GPU');
      expect(plain).not.toContain('\u001b[');
      expect(onTerminal(run, { TERM: 'dumb' })).not.toContain('Copies by GPU');
      expect(onTerminal(`${run} --format json`, {})).not.toContain('Copies by GPU');
    },
  );
});
