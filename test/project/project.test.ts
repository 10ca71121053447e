import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scenarioJsonSchema, sweepJsonSchema, VERSION } from '../../src/index.js';
import { epsim, root } from '../cli/epsim.js';
import { shared } from '../shared.js';

const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('the project', () => {
  it('has one version', () => {
    expect((JSON.parse(read('package.json')) as { version: string }).version).toBe(VERSION);
  });

  it('ships the schema that its code has: npm run schema writes it', () => {
    for (const [name, schema] of Object.entries({
      scenario: scenarioJsonSchema(),
      sweep: sweepJsonSchema(),
    })) {
      expect(JSON.parse(read(`schema/${name}.schema.json`))).toEqual(JSON.parse(JSON.stringify(schema)));
    }
  });

  it('pins every dependency, and its lock file names no registry', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<
      string,
      Record<string, string>
    >;
    for (const version of Object.values({ ...dependencies, ...devDependencies })) {
      expect(version).toMatch(/^\d+\.\d+\.\d+/);
    }
    expect(read('package-lock.json')).not.toContain('"resolved"');
  });

  it('every scenario that it ships is valid', () => {
    const shipped = readdirSync(join(root, 'scenarios'), { recursive: true, encoding: 'utf8' });
    for (const file of shipped.filter((name) => name.endsWith('.json'))) {
      const scenario = JSON.parse(read(`scenarios/${file}`)) as { $schema: string };
      expect(scenario.$schema).toMatch(/^(\.\.\/)+schema\/scenario\.schema\.json$/);
      const { stderr, status } = epsim(['run', `scenarios/${file}`, '--set', 'nonsense=1']);
      expect([status, stderr]).toEqual([2, expect.stringContaining("found unknown key 'nonsense'")]);
    }
  });

  it('every sweep that it ships is valid', () => {
    for (const file of readdirSync(join(root, 'sweeps'))) {
      const { $schema } = JSON.parse(read(`sweeps/${file}`)) as { $schema: string };
      expect($schema).toBe('../schema/sweep.schema.json');
      const { status, stderr } = epsim(['sweep', 'manifest', `sweeps/${file}`, '--out', '/dev/null/nowhere']);
      expect([status, stderr]).toEqual([2, expect.stringContaining('a folder that can be written')]);
    }
  });

  it('README shows what the quickstart prints', () => {
    const { stdout } = epsim(['run', 'scenarios/quickstart.json']);
    expect(read('README.md')).toContain(stdout.trimEnd());
  });

  it('README’s scenario is one that runs', () => {
    const [, scenario] = /```json\n(\{[\s\S]*?\n\})\n```/.exec(read('README.md'))!;
    expect(JSON.parse(scenario)).toEqual(JSON.parse(read('scenarios/gpt-oss-120b-hot.json')));
  });

  it.skipIf(shared === null)('keeps the agreed text of invariants and interfaces word for word', () => {
    const section = (text: string, number: number, end: string) =>
      text.slice(text.indexOf(`\n## ${number}. `), text.indexOf(end)).trimEnd();
    const agreed = readFileSync(join(shared!, 'design.md'), 'utf8');
    const ours = read('docs/architecture.md');
    expect(section(ours, 6, '\n## 7. ')).toBe(section(agreed, 6, '\n## 7. '));
    expect(section(ours, 7, '\n### What of §7')).toBe(section(agreed, 7, '\n## 8. '));
  });
});
