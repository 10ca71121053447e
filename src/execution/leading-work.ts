import type { TaskGraphBuilder } from '../engine/index.js';
import { labelOf } from './phases.js';

/** What a GPU computes before the MoE part of a layer, in launch order. */
const LEADING_PHASES = ['dense', 'attention', 'shared'] as const;

/**
 * Seconds by GPU of what runs on its compute stream before the MoE part of a layer: dense FFNs of layers without
 * experts in front of it; attention with its projections and norms, those layers' included; shared experts.
 */
export type LeadingSeconds = Readonly<Record<(typeof LEADING_PHASES)[number], ArrayLike<number>>>;

/**
 * The part of a layer's graph that stands at the head of every GPU's compute stream: a task per GPU and phase.
 * The router's choices are known once it has run, so that whatever depends on them waits for `tasks`.
 */
export class LeadingWork {
  /** The last task of every GPU; none where a layer begins with its MoE part. */
  readonly tasks: readonly number[];
  private readonly byPhase: number[][];

  /**
   * Adds its tasks to a graph that is being built, before any other task of these streams.
   * @param compute every GPU's compute stream
   * @param leads whether layers have such a part
   */
  constructor(graph: TaskGraphBuilder, compute: readonly number[], leads: boolean) {
    this.byPhase = (leads ? LEADING_PHASES : []).map((phase) =>
      compute.map((stream) => graph.addTask({ streams: [stream], label: labelOf(phase) })),
    );
    this.tasks = this.byPhase.at(-1) ?? [];
  }

  /**
   * @param seconds null: none
   * @param duration seconds by task, of the graph's executor
   */
  fill(seconds: LeadingSeconds | null, duration: Float64Array): void {
    this.byPhase.forEach((tasks, i) => {
      const own = seconds?.[LEADING_PHASES[i]];
      for (let gpu = 0; gpu < tasks.length; gpu++) duration[tasks[gpu]] = own?.[gpu] ?? 0;
    });
  }
}
