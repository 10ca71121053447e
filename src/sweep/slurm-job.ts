/** How a sweep's shards run as tasks of a Slurm job array. */
export interface SlurmOptions {
  partition?: string;
  /** Limits of one task, as sbatch takes them: `30`, `1:30:00`; `4G`. */
  time?: string;
  memory?: string;
  /** Cores of one task, and worker threads. */
  cpus: number;
  /** Tasks that run at once at most. */
  throttle?: number;
}

/** How often a task that failed is put back into the queue. */
const MOST_RESTARTS = 3;

/**
 * The script of a job array whose task n computes shard n.
 *
 * Slurm itself puts a task back into the queue when its node is lost, and leaves one alone whose process was
 * killed or has failed; so the script does that, a few times. Exit code 2 (bad input) is final.
 * @param command words that compute the shard whose number follows them
 * @param logs pattern of the files that tasks print to
 */
export function slurmScript(
  name: string,
  command: readonly string[],
  logs: string,
  { partition, time, memory, cpus }: SlurmOptions,
): string {
  const settings = [
    `--job-name=${name}`,
    `--output=${logs}`,
    '--open-mode=append',
    '--requeue',
    `--cpus-per-task=${cpus}`,
    ...(partition === undefined ? [] : [`--partition=${partition}`]),
    ...(time === undefined ? [] : [`--time=${time}`]),
    ...(memory === undefined ? [] : [`--mem=${memory}`]),
  ];
  return `#!/bin/bash
${settings.map((setting) => `#SBATCH ${setting}`).join('\n')}

${command.map(quoted).join(' ')} "$SLURM_ARRAY_TASK_ID" --jobs ${cpus}
code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 2 ] && [ "\${SLURM_RESTART_COUNT:-0}" -lt ${MOST_RESTARTS} ]; then
  echo "shard $SLURM_ARRAY_TASK_ID ended with exit code $code; back into the queue"
  scontrol requeue "\${SLURM_ARRAY_JOB_ID}_\${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
`;
}

/** A word of a shell's command line that stands for itself. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Task numbers from `squeue --array --format=%K`, one a line. */
export function queuedTasks(squeue: string): Set<number> {
  return new Set(
    squeue
      .split('\n')
      .filter((line) => /^\s*\d+\s*$/.test(line))
      .map(Number),
  );
}

/** Slurm's MaxArraySize from `scontrol show config`: numbers of tasks lie below it. */
export function maxArraySize(config: string): number | null {
  const [, size] = /^MaxArraySize\s*=\s*(\d+)/m.exec(config) ?? [];
  return size === undefined ? null : Number(size);
}
