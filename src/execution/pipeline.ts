/** Seconds of every micro-batch in every stage, [stage][micro-batch]. */
export interface StageTimes {
  forward: readonly ArrayLike<number>[];
  backward: readonly ArrayLike<number>[];
}

/** One micro-batch in one stage, forward or backward. */
export interface PipelineStep {
  stage: number;
  microBatch: number;
  backward: boolean;
  start: number;
  end: number;
  /** The step whose end it waited for last, and whether that was in another stage; null: it began at 0. */
  before: PipelineStep | null;
}

/** Micro-batches that a stage takes forward before its first backward: as many as are alive in it, less one. */
export function warmupOfStage(stage: number, stages: number, microBatches: number): number {
  return Math.min(stages - 1 - stage, microBatches);
}

/**
 * Order in which a stage takes its micro-batches under 1F1B: its warm-up forward, then one forward and one backward
 * in turn, then what is left backward.
 */
function orderOfStage(
  stage: number,
  stages: number,
  microBatches: number,
): { microBatch: number; backward: boolean }[] {
  const ahead = warmupOfStage(stage, stages, microBatches);
  const order: { microBatch: number; backward: boolean }[] = [];
  for (let m = 0; m < microBatches; m++) {
    order.push({ microBatch: m, backward: false });
    if (m >= ahead) order.push({ microBatch: m - ahead, backward: true });
  }
  for (let m = microBatches - ahead; m < microBatches; m++) order.push({ microBatch: m, backward: true });
  return order;
}

/**
 * Starts and ends of a training step under 1F1B (PipeDream-Flush, arXiv 2006.09503): every stage keeps its order, and
 * a micro-batch goes forward once the stage before has sent it, backward once the stage behind has.
 *
 * @param times of every micro-batch in every stage, which need not be equal
 * @param sendSeconds of activations, or their gradients, between neighbouring stages
 * @returns the steps of each stage in its order
 */
export function pipelineSteps(times: StageTimes, sendSeconds: number): PipelineStep[][] {
  const stages = times.forward.length;
  const microBatches = times.forward[0].length;
  const orders = Array.from({ length: stages }, (_, stage) => orderOfStage(stage, stages, microBatches));
  const done: PipelineStep[][] = orders.map(() => []);
  const at = new Map<string, PipelineStep>();
  const keyOf = (stage: number, microBatch: number, backward: boolean) =>
    `${stage}/${microBatch}/${backward ? 'backward' : 'forward'}`;
  for (let left = 2 * stages * microBatches; left > 0;) {
    const before = left;
    for (let stage = 0; stage < stages; stage++) {
      while (done[stage].length < orders[stage].length) {
        const { microBatch, backward } = orders[stage][done[stage].length];
        const neighbour = backward ? stage + 1 : stage - 1;
        const outside = neighbour < 0 || neighbour >= stages;
        const sender = outside ? null : (at.get(keyOf(neighbour, microBatch, backward)) ?? undefined);
        if (sender === undefined) break;
        const own = done[stage].at(-1) ?? null;
        const arrival = sender === null ? 0 : sender.end + sendSeconds;
        const free = own === null ? 0 : own.end;
        const start = Math.max(arrival, free);
        const seconds = (backward ? times.backward : times.forward)[stage][microBatch];
        const step: PipelineStep = {
          stage,
          microBatch,
          backward,
          start,
          end: start + seconds,
          before: own !== null && free === start ? own : sender,
        };
        at.set(keyOf(stage, microBatch, backward), step);
        done[stage].push(step);
        left--;
      }
    }
    if (left === before) throw new Error('the pipeline waits for itself');
  }
  return done;
}
