import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { maxArraySize, queuedTasks, slurmScript } from '../../src/sweep/index.js';

describe('the script of a job array', () => {
  const options = { partition: 'cpu', time: '1:00:00', memory: '4G', cpus: 2, throttle: 8 };

  it('asks for what it was told to, and for nothing else', () => {
    const settings = (script: string) =>
      [...script.matchAll(/^#SBATCH (.*)$/gm)].map(([, setting]) => setting);
    expect(settings(slurmScript('name', ['epsim'], 'out.log', options))).toEqual([
      '--job-name=name',
      '--output=out.log',
      '--open-mode=append',
      '--requeue',
      '--cpus-per-task=2',
      '--partition=cpu',
      '--time=1:00:00',
      '--mem=4G',
    ]);
    expect(settings(slurmScript('name', ['epsim'], 'out.log', { cpus: 1 }))).toHaveLength(5);
  });

  /** Runs the script with a command and a scontrol that print what they are given. */
  function runScript(command: string[], restarts: number): string {
    const script = slurmScript('name', command, 'out.log', { cpus: 3 });
    const env = {
      ...process.env,
      SLURM_ARRAY_TASK_ID: '7',
      SLURM_ARRAY_JOB_ID: '42',
      SLURM_RESTART_COUNT: String(restarts),
    };
    const stand = 'scontrol() { echo "scontrol $*"; }; export -f scontrol;';
    try {
      return execFileSync('bash', ['-c', `${stand} bash <(cat <<'SCRIPT'\n${script}SCRIPT\n)`], {
        env,
        encoding: 'utf8',
      });
    } catch (error) {
      const { status, stdout } = error as { status: number; stdout: string };
      return `${stdout}exit ${status}`;
    }
  }

  it('hands the task’s number on, whatever is in the words', () => {
    expect(runScript(['echo', "it's $HOME", '"x"'], 0)).toBe(`it's $HOME "x" 7 --jobs 3\n`);
  });

  it.each([
    [1, 0, true],
    [137, 2, true],
    [1, 3, false],
    [2, 0, false],
  ])('exit code %d after %d restarts: into the queue again: %s', (code, restarts, again) => {
    const said = runScript(['bash', '-c', `exit ${code}`], restarts);
    expect(said.includes('scontrol requeue 42_7')).toBe(again);
    expect(said.endsWith(`exit ${code}`)).toBe(true);
  });
});

it('reads what Slurm prints', () => {
  expect(queuedTasks('3\n 14 \nN/A\n\n')).toEqual(new Set([3, 14]));
  expect(maxArraySize('MaxJobCount = 10000\nMaxArraySize            = 1001\n')).toBe(1001);
  expect(maxArraySize('nothing')).toBe(null);
});
