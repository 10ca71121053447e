/**
 * Runs every benchmark in a process of its own (variants in one process slow each other) and prints medians of
 * five batches after warm-up, each with its target and a yardstick measured in the same process. Exit code 1
 * where a target is missed. Give names as arguments to run only some.
 */
import Table from 'cli-table3';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Measurement } from './measure.js';

const benchmarks: Record<string, string[][]> = {
  'event-queue': [['flatqueue'], ['ours']],
  'llep-plan': [
    ['8', '128', '15'],
    ['64', '256', '80'],
  ],
  eplb: [[]],
  'lp-dispatch': [[]],
  'max-min': [[]],
  'layer-steps': [
    ['8', '32', '300000'],
    ['8', '128', '0'],
    ['64', '256', '20000'],
    ['8', '32', '0', 'llep-reference'],
  ],
  scale: [['gpus'], ['experts'], ['layers'], ['steps']],
  memory: [[]],
};

const wanted = process.argv.slice(2);
const grid = new Table({
  head: ['benchmark', 'measured', 'target', '', 'yardstick'],
  style: { head: [], border: [] },
});
const seen = new Map<string, number>();
let missed = 0;
for (const [name, runs] of Object.entries(benchmarks)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const args of runs) {
    const file = fileURLToPath(new URL(`${name}.js`, import.meta.url));
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--expose-gc', file, ...args], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${name} failed: ${stderr}`);
    for (const line of stdout.trim().split('\n')) {
      const measurement = JSON.parse(line) as Measurement;
      seen.set(measurement.name, measurement.value);
      const target = targetOf(measurement);
      const met =
        target === null ||
        (target.better === 'more' ? measurement.value >= target.value : measurement.value <= target.value);
      if (!met) missed++;
      grid.push([
        measurement.name,
        `${measurement.value.toPrecision(4)} ${measurement.unit}`,
        target === null ? '' : `${target.better === 'more' ? '≥' : '≤'} ${target.value.toPrecision(3)}`,
        target === null ? '' : met ? 'met' : 'MISSED',
        measurement.yardstick,
      ]);
    }
  }
}
console.log(grid.toString());
process.exitCode = missed > 0 ? 1 : 0;

/** The queue's target is a share of what flatqueue did in this run. */
function targetOf({ name, target }: Measurement): Measurement['target'] {
  if (!name.startsWith('event queue, ours')) return target;
  const other = seen.get(name.replace('ours', 'flatqueue'));
  return other === undefined ? null : { value: 0.7 * other, better: 'more' };
}
