/**
 * Kills a sweep (SIGKILL) at ten random moments, lets it finish, and compares its table with that of a run that
 * nobody killed. Run after `npm run build`:
 *
 *   node tools/kill-sweep.js sweeps/llep.json
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';
import { fileURLToPath } from 'node:url';

const KILLS = 10;
const main = fileURLToPath(new URL('../dist/bin/epsim.js', import.meta.url));
const place = mkdtempSync(join(tmpdir(), 'epsim-kill-'));

/** Runs the sweep; resolves with seconds where it came to its end, with null where it was killed. */
function sweep(out, killAfterSeconds = Infinity) {
  const started = Date.now();
  const child = spawn(process.execPath, [main, 'sweep', process.argv[2], '--out', join(place, out)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const timer = Number.isFinite(killAfterSeconds)
    ? setTimeout(() => child.kill('SIGKILL'), killAfterSeconds * 1000)
    : undefined;
  return new Promise((resolve, reject) => {
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      if (signal === 'SIGKILL') resolve(null);
      else if (code === 0) resolve((Date.now() - started) / 1000);
      else reject(new Error(`exit code ${code}`));
    });
  });
}

function table(out) {
  const [folder] = readdirSync(join(place, out));
  return ['points.parquet', 'points.csv'].map((name) => readFileSync(join(place, out, folder, name)));
}

try {
  const seconds = await sweep('whole');
  console.log(`undisturbed: ${seconds.toFixed(1)} s`);
  let kills = 0;
  while (kills < KILLS) {
    const after = 0.3 + (Math.random() * 1.6 * seconds) / KILLS;
    if ((await sweep('killed', after)) !== null) break;
    kills++;
    console.log(`killed after ${after.toFixed(1)} s`);
  }
  await sweep('killed');
  const [whole, killed] = [table('whole'), table('killed')];
  const same = whole.every((bytes, i) => bytes.equals(killed[i]));
  console.log(`${kills} kills; the tables are ${same ? 'identical' : 'DIFFERENT'}`);
  process.exitCode = same ? 0 : 1;
} finally {
  rmSync(place, { recursive: true, force: true });
}
