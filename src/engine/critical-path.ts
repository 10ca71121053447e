import type { Executor } from './executor.js';

/**
 * Adds to every label the seconds that its tasks take on the critical path of an executor's last run: the chain
 * of tasks, back from the one that ended last, of which each started the moment the one before it ended. The
 * seconds of all labels sum to the time of the run. Where several tasks ended at that moment, the one added to
 * the graph first is taken.
 *
 * @param byLabel sums, by the label of a task
 * @param times how often the run counts
 */
export function addCriticalSeconds(
  { graph, start, end }: Pick<Executor, 'graph' | 'start' | 'end'>,
  byLabel: Float64Array,
  times = 1,
): void {
  const { tasks, labels, predecessorFirst, predecessors } = graph;
  let task = -1;
  for (let other = 0; other < tasks; other++) {
    if (task < 0 || end[other] > end[task]) task = other;
  }
  while (task >= 0) {
    byLabel[labels[task]] += times * (end[task] - start[task]);
    let before = -1;
    for (let i = predecessorFirst[task]; i < predecessorFirst[task + 1]; i++) {
      if (end[predecessors[i]] !== start[task]) continue;
      before = predecessors[i];
      break;
    }
    task = before;
  }
}
