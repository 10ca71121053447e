import { quantileSorted } from 'd3-array';
import type { LayerLoads } from '../../balancing/index.js';
import { MEMORY_CATEGORIES, NON_TENSOR_BYTES } from '../../execution/index.js';
import type { Watcher } from '../kept-runs.js';
import type { LayerPosition } from '../pass.js';
import type { PolicyRun } from '../policy-run.js';
import { recordHead, recordLayer } from './record-layer.js';
import type { RecordedLayer, RecordedStep, Recording } from './recording.js';

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

/** What a recorder saw of one policy. */
interface Seen {
  sums: Sums;
  memoryLimit: number;
  steps: RecordedStep[];
  events: number;
  /** Steps that ran. */
  ran: Set<number>;
  /** Some layers took more than the run of their tasks that was there to see. */
  inParts: boolean;
  /** The step that layers are kept of; null: they are not. */
  current: RecordedStep | null;
}

/** Of an event of a timeline, about. */
const EVENT_BYTES = 256;

/**
 * Watches a simulation for pictures: every task of chosen steps, and who computed and sent how much over all steps
 * that count. Its `onLayer` is `simulate`'s.
 */
export class Recorder implements Watcher {
  /** By policy. */
  private policies: Seen[] = [];
  /** The policy whose layers come first. */
  private first: number | null = null;
  private events = 0;
  private skipping = false;
  private skipped = 0;

  constructor(private readonly choice: RecorderChoice) {}

  readonly onLayer = (run: PolicyRun, base: LayerLoads, seconds: number, at: LayerPosition): void => {
    const { policy } = at;
    this.first ??= policy;
    const seen = (this.policies[policy] ??= this.nothingOf(run));
    const { step, layer } = run.locate(run.ledger.tag);
    // What comes before the steps that count is warm-up.
    if (at.step >= 0) {
      this.add(seen.sums, run, base, layer);
      seen.sums.seconds.push(seconds);
    }
    const { steps, policies, mostEvents = MOST_EVENTS } = this.choice;
    seen.current = null;
    if (!steps.includes(step)) return;
    seen.ran.add(step);
    if (policy === this.first) {
      this.skipping = this.events > mostEvents;
      if (this.skipping) this.skipped++;
    }
    if (this.skipping || (policies && !policies.includes(policy))) return;
    let current = seen.steps.at(-1);
    if (current?.step !== step) seen.steps.push((current = { step, layers: [] }));
    const done = recordLayer(run, this.choice.layers[layer], current.layers.at(-1)?.end ?? 0);
    this.count(seen, eventsOf(done));
    const drawn = run.program.executor.end.reduce((last, end) => Math.max(last, end), 0);
    if (seconds - run.movementSeconds > drawn * (1 + 1e-9)) seen.inParts = true;
    current.layers.push(done);
    seen.current = current;
  };

  readonly onHead = (run: PolicyRun, seconds: Float64Array): void => {
    const seen = this.policies[run.index];
    const step = seen.current;
    if (!step) return;
    step.head = recordHead(run, seconds, step.layers.at(-1)!.end);
    this.count(seen, step.head.length);
  };

  seen(policy: number): { state: object; bytes: number } | null {
    const seen = this.policies[policy] as Seen | undefined;
    // Which layers were left out hangs on the other policies. Of training nothing is seen.
    if (this.skipped > 0 || seen === undefined) return null;
    const { loads, homeLoads, traffic, seconds } = seen.sums;
    const numbers = loads.length + homeLoads.length + traffic.length + seconds.length;
    return { state: seen, bytes: EVENT_BYTES * seen.events + 8 * numbers };
  }

  recall(policy: number, state: object): void {
    this.policies[policy] = state as Seen;
    this.events += this.policies[policy].events;
  }

  isWhole(): boolean {
    // Of all policies in one simulation, layers would have been left out from somewhere on.
    return this.events <= (this.choice.mostEvents ?? MOST_EVENTS);
  }

  forget(): void {
    this.policies = [];
    this.first = null;
    this.events = 0;
    this.skipping = false;
    this.skipped = 0;
  }

  /** What was seen so far. */
  recording(): Recording {
    const { gpus, layers, mostEvents = MOST_EVENTS } = this.choice;
    return {
      schema: 'epsim/recording@1',
      gpus,
      layers: [...layers],
      memoryCategories: MEMORY_CATEGORIES,
      homeLoads: this.policies.length === 0 ? [] : this.perStep(this.policies[0].sums, 'homeLoads'),
      policies: this.policies.map(({ sums, memoryLimit, steps }, policy) => ({
        policy,
        memoryLimit,
        steps,
        seconds: spread(sums.seconds),
        loads: this.perStep(sums, 'loads'),
        rankedLoads: Array.from(sums.rankedLoads, (sum) => sum / sums.layers),
        traffic: rows(sums.traffic, gpus, sums.layers),
      })),
      leftOut: this.leftOut(mostEvents),
    };
  }

  private count(seen: Seen, events: number): void {
    seen.events += events;
    this.events += events;
  }

  private leftOut(mostEvents: number): string | null {
    const unseen = this.choice.steps.filter((step) => !this.policies.some(({ ran }) => ran.has(step)));
    const reasons = [
      ...(unseen.length === 0 ? [] : [`steps ${unseen.join(', ')}, which did not run`]),
      ...(this.skipped === 0
        ? []
        : [
            `${this.skipped} further layers of the chosen steps: the ones before have ${this.events} bars, samples and arrows, above ${mostEvents}`,
          ]),
      ...(this.policies.some(({ inParts }) => inParts)
        ? [
            'parts of layers that run more than once (waves of a large batch, layers that stand for several of the ' +
              'model) or wait for a plan: the last run alone is shown, so that they look shorter than they are',
          ]
        : []),
    ];
    return reasons.length === 0 ? null : reasons.join('; ');
  }

  private nothingOf(run: PolicyRun): Seen {
    const { gpus, layers } = this.choice;
    return {
      sums: {
        layers: 0,
        seconds: [],
        loads: new Float64Array(layers.length * gpus),
        homeLoads: new Float64Array(layers.length * gpus),
        rankedLoads: new Float64Array(gpus),
        traffic: new Float64Array(gpus * gpus),
      },
      memoryLimit: run.capacity - NON_TENSOR_BYTES,
      steps: [],
      events: 0,
      ran: new Set(),
      inParts: false,
      current: null,
    };
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
