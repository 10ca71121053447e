import { quantileSorted } from 'd3-array';
import type { LayerLoads } from '../../balancing/index.js';
import { MEMORY_CATEGORIES, NON_TENSOR_BYTES } from '../../execution/index.js';
import type { LayerPosition } from '../pass.js';
import type { PolicyRun } from '../policy-run.js';
import { recordHead, recordLayer } from './record-layer.js';
import type { PolicyRecording, RecordedLayer, RecordedStep, Recording } from './recording.js';

/** What to take down. */
export interface RecorderChoice {
  /** MoE layers of a step, as the routing numbers them. */
  layers: readonly number[];
  gpus: number;
  /** Steps whose tasks are kept, from 0, warm-up included. */
  steps: readonly number[];
  /** Indices of the policies whose tasks are kept; null: all. */
  policies?: readonly number[] | null;
  /** Events above which further layers are left out; a layer is kept for all chosen policies or for none. */
  mostEvents?: number;
}

/** Bars, samples of counters and arrows that a viewer of timelines opens with ease; about 40 MB of JSON. */
export const MOST_EVENTS = 250_000;

/** Times of layers that a picture of their spread needs. */
const MOST_SECONDS = 400;

/** Sums that belong to one policy. */
interface Sums {
  /** Layers since counting began. */
  layers: number;
  /** Of every layer, in turn. */
  seconds: number[];
  /** [layer · gpus + gpu]. */
  loads: Float64Array;
  homeLoads: Float64Array;
  /** By rank within a layer. */
  rankedLoads: Float64Array;
  /** [source · gpus + gpu]. */
  traffic: Float64Array;
}

/**
 * Watches a simulation for pictures: every task of chosen steps, and who computed and sent how much over all steps
 * that count. Its `onLayer` is `simulate`'s.
 */
export class Recorder {
  private readonly order = new Map<PolicyRun, number>();
  private readonly sums: Sums[] = [];
  private readonly kept: PolicyRecording[] = [];
  private readonly seen = new Set<number>();
  /** The step that each policy's layers are kept of; null: they are not. */
  private readonly current: (RecordedStep | null)[] = [];
  private events = 0;
  private skipping = false;
  private skipped = 0;
  /** Some layers took more than the run of their tasks that was there to see. */
  private inParts = false;

  constructor(private readonly choice: RecorderChoice) {}

  readonly onLayer = (run: PolicyRun, base: LayerLoads, seconds: number, at: LayerPosition): void => {
    const first = this.order.size === 0 || this.order.get(run) === 0;
    const policy = this.indexOf(run);
    const { step, layer } = run.locate(run.ledger.tag);
    // What comes before the steps that count is warm-up.
    if (at.step >= 0) {
      this.add(this.sums[policy], run, base, layer);
      this.sums[policy].seconds.push(seconds);
    }
    const { steps, policies, mostEvents = MOST_EVENTS } = this.choice;
    this.current[policy] = null;
    if (!steps.includes(step)) return;
    this.seen.add(step);
    if (first) {
      this.skipping = this.events > mostEvents;
      if (this.skipping) this.skipped++;
    }
    if (this.skipping || (policies && !policies.includes(policy))) return;
    const recorded = this.kept[policy];
    let current = recorded.steps.at(-1);
    if (current?.step !== step) recorded.steps.push((current = { step, layers: [] }));
    const done = recordLayer(run, this.choice.layers[layer], current.layers.at(-1)?.end ?? 0);
    this.events += eventsOf(done);
    const drawn = run.program.executor.end.reduce((last, end) => Math.max(last, end), 0);
    if (seconds - run.movementSeconds > drawn * (1 + 1e-9)) this.inParts = true;
    current.layers.push(done);
    this.current[policy] = current;
  };

  readonly onHead = (run: PolicyRun, seconds: Float64Array): void => {
    const step = this.current[this.indexOf(run)];
    if (!step) return;
    step.head = recordHead(run, seconds, step.layers.at(-1)!.end);
    this.events += step.head.length;
  };

  /** What was seen so far. */
  recording(): Recording {
    const { gpus, layers, mostEvents = MOST_EVENTS } = this.choice;
    return {
      schema: 'epsim/recording@1',
      gpus,
      layers: [...layers],
      memoryCategories: MEMORY_CATEGORIES,
      homeLoads: this.perStep(this.sums[0], 'homeLoads'),
      policies: this.kept.map((recorded, i) => ({
        ...recorded,
        seconds: spread(this.sums[i].seconds),
        loads: this.perStep(this.sums[i], 'loads'),
        rankedLoads: Array.from(this.sums[i].rankedLoads, (sum) => sum / this.sums[i].layers),
        traffic: rows(this.sums[i].traffic, gpus, this.sums[i].layers),
      })),
      leftOut: this.leftOut(mostEvents),
    };
  }

  private leftOut(mostEvents: number): string | null {
    const unseen = this.choice.steps.filter((step) => !this.seen.has(step));
    const reasons = [
      ...(unseen.length === 0 ? [] : [`steps ${unseen.join(', ')}, which did not run`]),
      ...(this.skipped === 0
        ? []
        : [
            `${this.skipped} further layers of the chosen steps: the ones before have ${this.events} bars, samples and arrows, above ${mostEvents}`,
          ]),
      ...(this.inParts
        ? [
            'parts of layers that run more than once (waves of a large batch, layers that stand for several of the ' +
              'model) or wait for a plan: the last run alone is shown, so that they look shorter than they are',
          ]
        : []),
    ];
    return reasons.length === 0 ? null : reasons.join('; ');
  }

  private indexOf(run: PolicyRun): number {
    let index = this.order.get(run);
    if (index !== undefined) return index;
    this.order.set(run, (index = this.order.size));
    const { gpus, layers } = this.choice;
    this.sums.push({
      layers: 0,
      seconds: [],
      loads: new Float64Array(layers.length * gpus),
      homeLoads: new Float64Array(layers.length * gpus),
      rankedLoads: new Float64Array(gpus),
      traffic: new Float64Array(gpus * gpus),
    });
    this.kept.push({
      policy: index,
      memoryLimit: run.capacity - NON_TENSOR_BYTES,
      steps: [],
      seconds: [],
      loads: [],
      rankedLoads: [],
      traffic: [],
    });
    return index;
  }

  private add(sums: Sums, { work }: PolicyRun, { homeLoads }: LayerLoads, layer: number): void {
    sums.layers++;
    const { gpus } = this.choice;
    const ranked = Float64Array.from(work.copies).sort();
    for (let gpu = 0; gpu < gpus; gpu++) {
      sums.rankedLoads[gpu] += ranked[gpus - 1 - gpu];
      sums.loads[layer * gpus + gpu] += work.copies[gpu];
      sums.homeLoads[layer * gpus + gpu] += homeLoads[gpu];
    }
    for (let cell = 0; cell < sums.traffic.length; cell++) sums.traffic[cell] += work.send[cell];
  }

  private perStep(sums: Sums, which: 'loads' | 'homeLoads'): number[][] {
    const { layers, gpus } = this.choice;
    return rows(sums[which], gpus, sums.layers / layers.length);
  }
}

/** Events of a timeline that a layer takes at most: rates of links change twice per use, weights have an arrow and a bar. */
function eventsOf({ slices, memory, links, moves }: RecordedLayer): number {
  return 1 + slices.length + memory.length + 2 * links.length + 3 * moves.length;
}

/** Numbers in order; of many, evenly spaced quantiles. */
function spread(values: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length <= MOST_SECONDS) return sorted;
  return Array.from({ length: MOST_SECONDS }, (_, i) => quantileSorted(sorted, i / (MOST_SECONDS - 1))!);
}

/** A matrix over a number, row by row. */
function rows(matrix: Float64Array, width: number, over: number): number[][] {
  return Array.from({ length: matrix.length / width }, (_, row) =>
    Array.from(matrix.subarray(row * width, (row + 1) * width), (sum) => sum / over),
  );
}
