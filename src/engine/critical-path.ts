import type { Executor } from './executor.js';

type LastRun = Pick<Executor, 'graph' | 'start' | 'end'>;

/**
 * The critical path of an executor's last run is the chain of tasks, back from the one that ended last, of which each
 * started the moment the one before it ended; the seconds of its tasks sum to the time of the run. This is the task
 * that it ends with; −1 for a graph without tasks.
 */
export function criticalEnd({ graph, end }: LastRun): number {
  let task = -1;
  for (let other = 0; other < graph.tasks; other++) {
    if (task < 0 || end[other] > end[task]) task = other;
  }
  return task;
}

/**
 * The task before another one on the critical path; −1 before the first. Where several ended at the moment at which
 * it started, the one added to the graph first.
 */
export function criticalBefore({ graph, start, end }: LastRun, task: number): number {
  const { predecessorFirst, predecessors } = graph;
  for (let i = predecessorFirst[task]; i < predecessorFirst[task + 1]; i++) {
    if (end[predecessors[i]] === start[task]) return predecessors[i];
  }
  return -1;
}

/**
 * Adds to every label the seconds that its tasks take on the critical path of an executor's last run.
 * @param byLabel sums, by the label of a task
 * @param times how often the run counts
 */
export function addCriticalSeconds(run: LastRun, byLabel: Float64Array, times = 1): void {
  const { labels } = run.graph;
  for (let task = criticalEnd(run); task >= 0; task = criticalBefore(run, task)) {
    byLabel[labels[task]] += times * (run.end[task] - run.start[task]);
  }
}
