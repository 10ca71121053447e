import { InstanceLoads, type LayerLoads } from '../balancing/index.js';
import { criticalBefore, criticalEnd } from '../engine/index.js';
import { PHASES } from '../execution/index.js';
import { NIC_OUT, PORTS_PER_GPU, type Profile } from '../hardware/index.js';
import { skewOf, type Skew } from '../metrics/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { GpuExplanation, HotInstance, LayerExplanation, PolicyExplanation } from './explanation.js';
import type { LayerPosition } from './pass.js';
import type { PolicyRun } from './policy-run.js';
import { PlacementTrack } from './placement-track.js';

const EXPERTS = PHASES.indexOf('experts');
/** Hot instances that are named. */
const NAMED = 10;

/** What the critical paths of one policy's layers hold, by phase, GPU, layer and expert. */
export class PathObserver {
  readonly placements: PlacementTrack;
  /** Layers of the model that tasks were seen of, and layers of the routing. */
  private layers = 0;
  private seen = 0;
  private run: PolicyRun | null = null;
  private slowestNow = -1;
  private transfer = 0;
  /** GPUs that do the same at the same time; kept to allocate nothing per task. */
  private readonly equals: number[] = [];
  private readonly work: Float64Array;
  private readonly exchanges: Float64Array;
  private readonly slowest: Float64Array;
  private readonly waiting: Float64Array;
  private readonly lastAtSource: Float64Array;
  private readonly load: Float64Array;
  private readonly byLayer: LayerSums[];
  private readonly instances = new InstanceLoads();
  private readonly skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };

  constructor(
    private readonly source: Pick<RoutingSource, 'gpus' | 'experts' | 'layerIds'>,
    private readonly profile: Pick<Profile, 'nvlink' | 'nic'>,
  ) {
    const { gpus, layerIds } = source;
    this.placements = new PlacementTrack(layerIds);
    this.work = new Float64Array(gpus);
    this.exchanges = new Float64Array(gpus);
    this.slowest = new Float64Array(gpus);
    this.waiting = new Float64Array(gpus);
    this.lastAtSource = new Float64Array(gpus);
    this.load = new Float64Array(gpus);
    this.byLayer = layerIds.map(() => new LayerSums(gpus));
  }

  /** Looks at the tasks of a layer, which count as those of so many layers. */
  observeTasks(run: PolicyRun, { step, batch }: LayerPosition, layers: number): void {
    if (step < 0) return;
    this.slowestNow = this.walk(run, layers);
    this.addWaiting(run, layers);
    this.layers += layers;
    const own = this.byLayer[batch.layer];
    own.layers += layers;
    if (this.slowestNow < 0) return;
    this.slowest[this.slowestNow] += layers;
    own.slowest[this.slowestNow] += layers;
  }

  /** Looks at a layer whose tasks ran. */
  observeLayer(run: PolicyRun, base: LayerLoads, seconds: number, { step, batch }: LayerPosition): void {
    const { copies } = run.work;
    const { maxOverMean: gamma } = skewOf(copies, this.skew);
    this.placements.see(run.plan!, step, batch.layer, gamma);
    if (step < 0) return;
    this.run = run;
    this.seen++;
    const own = this.byLayer[batch.layer];
    own.steps++;
    own.seconds += seconds;
    own.gamma += gamma;
    const total = copies.reduce((sum, x) => sum + x, 0);
    if (total > 0) copies.forEach((x, gpu) => (this.load[gpu] += (x * copies.length) / total));
    if (this.slowestNow >= 0) this.addInstances(run, base, own, this.slowestNow);
  }

  /** What was seen; `ep` is the observer of standard EP. */
  explain(ep: PathObserver): Omit<PolicyExplanation, 'policy' | 'anchor' | 'prediction'> {
    const { unit, critical } = this.measured;
    const { unit: epUnit, critical: epCritical } = ep.measured;
    return {
      seconds: critical.reduce((sum, x) => sum + x, 0) / unit,
      phases: PHASES.map((phase, p) => ({
        phase,
        seconds: critical[p] / unit,
        beyondEp: ep === this ? null : critical[p] / unit - epCritical[p] / epUnit,
      }))
        .filter(({ seconds, beyondEp }) => seconds > 0 || (beyondEp ?? 0) !== 0)
        .sort((a, b) => b.seconds - a.seconds),
      transfer: this.transfer / unit,
      waiting: this.run!.totals.waiting / unit / this.source.gpus,
      waitingFor: this.waitingFor,
      gpus: Array.from(this.work, (work, gpu): GpuExplanation => ({
        gpu,
        work: work / unit,
        exchanges: this.exchanges[gpu] / unit,
        slowest: this.slowest[gpu] / this.layers,
        waiting: this.waiting[gpu] / unit,
        load: this.load[gpu] / this.seen,
      })),
      layers: this.byLayer.map((own, layer) => own.explain(this.source.layerIds[layer])),
      experts: this.byLayer
        .flatMap((own, layer) => own.hotInstances(this.source.layerIds[layer]))
        .sort((a, b) => b.share * (b.timesMean - 1) - a.share * (a.timesMean - 1))
        .slice(0, NAMED),
    };
  }

  private get waitingFor(): PolicyExplanation['waitingFor'] {
    const { waiting, waitingForSource, steps } = this.run!.totals;
    if (steps === 0) return null;
    const { gpus } = this.source;
    return {
      source: waitingForSource / steps / gpus,
      experts: (waiting - waitingForSource) / steps / gpus,
      lastAtSource: mostOf(this.lastAtSource, this.layers),
    };
  }

  /** Seconds of the run on the critical path by phase, and what they are divided by: layers, or steps of a whole model. */
  private get measured(): { unit: number; critical: Float64Array } {
    const { layers, steps, critical } = this.run!.totals;
    return { unit: steps > 0 ? steps : layers, critical };
  }

  /** Follows the critical path of the tasks that ran last; returns the GPU of the experts on it, or −1. */
  private walk(run: PolicyRun, layers: number): number {
    const { executor } = run.program;
    const { graph, start, end } = executor;
    const busiest = this.busiestPort(run);
    let slowest = -1;
    for (let task = criticalEnd(executor); task >= 0; task = criticalBefore(executor, task)) {
      const took = layers * (end[task] - start[task]);
      const label = graph.labels[task];
      const owner = graph.owners[task];
      if (label === EXPERTS) slowest = owner;
      if (graph.transferOf[task] >= 0) {
        this.transfer += took;
        this.exchanges[owner < 0 ? busiest : owner] += took;
      } else if (owner >= 0) this.addWork(run, task, took);
    }
    return slowest;
  }

  /** Adds seconds of a GPU's own work, and to all GPUs alike that do the same at the same time. */
  private addWork({ program: { executor } }: PolicyRun, task: number, seconds: number): void {
    const { graph, start, end } = executor;
    const { equals } = this;
    equals.length = 0;
    for (let other = 0; other < graph.tasks; other++) {
      if (
        graph.labels[other] === graph.labels[task] &&
        graph.owners[other] >= 0 &&
        start[other] === start[task] &&
        end[other] === end[task]
      ) {
        equals.push(graph.owners[other]);
      }
    }
    for (const gpu of equals) this.work[gpu] += seconds / equals.length;
  }

  /** The GPU of the port that takes longest to pass what the layer's exchange puts on it. */
  private busiestPort({ ports: { units, gpus } }: PolicyRun): number {
    let busiest = 0;
    let longest = -1;
    for (let port = 0; port < PORTS_PER_GPU * gpus; port++) {
      const link = port < NIC_OUT * gpus ? this.profile.nvlink : this.profile.nic;
      const time = units[port] / link.bytesPerSecond;
      if (time <= longest) continue;
      longest = time;
      busiest = port % gpus;
    }
    return busiest;
  }

  private addWaiting({ program: { executor, rendezvous } }: PolicyRun, layers: number): void {
    const { start, end } = executor;
    let isLate = false;
    for (const { task, arrivals, lateBy } of rendezvous) {
      arrivals.forEach((arrival, gpu) => (this.waiting[gpu] += layers * (start[task] - end[arrival])));
      if (lateBy !== 'source' || isLate) continue;
      const last = arrivals.reduce(
        (latest, arrival, gpu) => (end[arrival] > end[arrivals[latest]] ? gpu : latest),
        0,
      );
      isLate = arrivals.some((arrival) => end[arrival] < end[arrivals[last]]);
      if (isLate) this.lastAtSource[last] += layers;
    }
  }

  private addInstances({ plan, work }: PolicyRun, base: LayerLoads, own: LayerSums, slowest: number): void {
    const { count, expert, gpu, copies } = this.instances.of(plan!, base);
    if (base.total === 0 || work.copies[slowest] === 0) return;
    // A GPU may hold an expert more than once.
    const ofExpert = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      if (gpu[i] === slowest && copies[i] > 0)
        ofExpert.set(expert[i], (ofExpert.get(expert[i]) ?? 0) + copies[i]);
    }
    for (const [id, held] of ofExpert) {
      own.addInstance(id, slowest, (held * base.experts) / base.total, held / work.copies[slowest]);
    }
  }
}

/** The GPU with most of a count of layers, and its share of them; null where none has any. */
function mostOf(count: Float64Array, layers: number): { gpu: number; share: number } | null {
  const gpu = count.reduce((best, own, i) => (own > count[best] ? i : best), 0);
  return count[gpu] === 0 ? null : { gpu, share: count[gpu] / layers };
}

/** Sums over the steps of one layer. */
class LayerSums {
  /** Steps, and the layers of the model that this one stood for in them. */
  steps = 0;
  layers = 0;
  seconds = 0;
  gamma = 0;
  readonly slowest: Float64Array;
  private readonly instances = new Map<string, HotInstance>();

  constructor(gpus: number) {
    this.slowest = new Float64Array(gpus);
  }

  addInstance(expert: number, gpu: number, timesMean: number, shareOfGpu: number): void {
    const key = `${expert}@${gpu}`;
    let own = this.instances.get(key);
    if (own === undefined) {
      own = { layer: 0, gpu, expert, share: 0, timesMean: 0, shareOfGpu: 0 };
      this.instances.set(key, own);
    }
    own.share++;
    own.timesMean += timesMean;
    own.shareOfGpu += shareOfGpu;
  }

  explain(layer: number): LayerExplanation {
    const { slowest, steps, layers, seconds, gamma } = this;
    return {
      layer,
      seconds: seconds / layers,
      gamma: gamma / steps,
      slowest: mostOf(slowest, layers),
    };
  }

  hotInstances(layer: number): HotInstance[] {
    return [...this.instances.values()].map(({ gpu, expert, share, timesMean, shareOfGpu }) => ({
      layer,
      gpu,
      expert,
      share: share / this.steps,
      timesMean: timesMean / share,
      shareOfGpu: shareOfGpu / share,
    }));
  }
}
