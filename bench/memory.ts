/** Peak memory of a whole `epsim run` of 10,000 steps over that of 100 steps. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { report } from './measure.js';

const folder = mkdtempSync(join(tmpdir(), 'epsim-bench-'));
const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

/** MiB, median of three processes. */
function peak(steps: number): number {
  const file = join(folder, `${steps}.json`);
  writeFileSync(
    file,
    JSON.stringify({
      model: { hiddenSize: 2880, expertHiddenSize: 2880, experts: 32, topK: 4 },
      cluster: { gpu: 'h200', gpus: 8 },
      workload: { phase: 'decode', tokensPerGpu: 256, steps, routing: { kind: 'log-normal', sigma: 1 } },
      policies: ['ep', 'llep', 'replicate-quantize', 'capacity'],
    }),
  );
  const script = `process.argv.splice(1, 0, 'epsim'); await import(${JSON.stringify(main)}); process.stderr.write(String(process.resourceUsage().maxRSS));`;
  const runs = [1, 2, 3].map(() => {
    const args = ['--input-type=module', '-e', script, '--', 'run', file, '--format', 'json'];
    const { stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
    if (status !== 0) throw new Error(stderr);
    return Number(stderr) / 1024;
  });
  return runs.sort((a, b) => a - b)[1];
}

const [few, many] = [peak(100), peak(10_000)];
rmSync(folder, { recursive: true });
report({
  name: 'peak memory of 10,000 steps over that of 100',
  value: many / few,
  unit: '×',
  target: { value: 1.2, better: 'less' },
  yardstick: `${few.toFixed(0)} and ${many.toFixed(0)} MiB`,
});
