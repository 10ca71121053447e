import { ESLint } from 'eslint';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOMS } from '../../eslint.config.js';
import { root } from '../cli/epsim.js';

const eslint = new ESLint({
  cwd: root,
  ruleFilter: ({ ruleId }) => ruleId === '@typescript-eslint/no-restricted-imports',
});

/** Messages of the room rule for an import in a file that exists, with its text replaced. */
async function importing(file: string, from: string): Promise<string[]> {
  const [{ messages }] = await eslint.lintText(`import '${from}';\n`, { filePath: join(root, 'src', file) });
  return messages.map(({ message }) => message);
}

describe('the room rule', () => {
  it.each([
    [
      'engine/executor.ts',
      '../hardware/index.js',
      'Room engine may import only rooms that stand before it: none',
    ],
    ['balancing/policies/llep.ts', '../../execution/index.js', 'Room balancing may import only rooms'],
    ['simulation/simulate.ts', '../report/index.js', 'Room simulation may import only rooms'],
    ['metrics/bound.ts', '../hardware/expert-stage.js', 'A room has one door'],
    ['balancing/policies/llep.ts', '../../routing/random.js', 'A room has one door'],
    ['routing/trace/npy.ts', 'node:fs', 'Room routing must run in a browser'],
    ['report/table.ts', 'node:process', 'Room report must run in a browser'],
    ['web/settings.ts', 'node:fs', 'Room web must run in a browser'],
    ['report/table.ts', '../web/index.js', 'Room report may import only rooms'],
    ['cli/progress.ts', 'node:fs', 'Only the room files opens files'],
    ['report/table.ts', '../run.js', 'What stands beside the rooms'],
  ])('%s may not import %s', async (file, from, message) => {
    expect((await importing(file, from)).join()).toContain(message);
  });

  it.each([
    ['metrics/bound.ts', '../hardware/index.js'],
    ['balancing/policies/llep.ts', '../dispatch/least-loaded-spill.js'],
    ['files/read.ts', 'node:fs'],
    ['cli/commands/run.ts', '../../run.js'],
  ])('%s may import %s', async (file, from) => {
    expect(await importing(file, from)).toEqual([]);
  });

  it('knows every room, in the order of docs/architecture.md, and every room has a door', () => {
    const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    );
    expect(new Set(folders.map(({ name }) => name))).toEqual(new Set(ROOMS));
    const table = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
    const listed = [...table.matchAll(/^\| `(\w+)\/` \|/gm)].map(([, room]) => room);
    expect(listed).toEqual(ROOMS);
    for (const room of ROOMS.filter((name) => name !== 'cli')) {
      expect(readdirSync(join(root, 'src', room))).toContain('index.ts');
    }
  });
});
