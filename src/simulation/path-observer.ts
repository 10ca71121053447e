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
const MOVE = PHASES.indexOf('move');
const REPLAN = PHASES.indexOf('replan');
/** Hot instances that are named. */
const NAMED = 10;

/** What the critical paths of one policy's layers hold, by phase, GPU, layer and expert; an observer of one policy's layers. */
export class PathObserver {
  readonly placements: PlacementTrack;
  private layers = 0;
  private readonly phases = new Float64Array(PHASES.length);
  private transfer = 0;
  private readonly work: Float64Array;
  private readonly exchanges: Float64Array;
  private readonly slowest: Float64Array;
  private readonly waiting: Float64Array;
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
    this.load = new Float64Array(gpus);
    this.byLayer = layerIds.map(() => new LayerSums(gpus));
  }

  observe(run: PolicyRun, base: LayerLoads, seconds: number, { step, batch }: LayerPosition): void {
    const { maxOverMean: gamma } = skewOf(run.work.copies, this.skew);
    this.placements.see(run.plan!, step, batch.layer, gamma);
    if (step < 0) return;
    this.layers++;
    const own = this.byLayer[batch.layer];
    own.steps++;
    own.seconds += seconds;
    own.gamma += gamma;
    const { copies } = run.work;
    const total = copies.reduce((sum, x) => sum + x, 0);
    if (total > 0) copies.forEach((x, gpu) => (this.load[gpu] += (x * copies.length) / total));
    const slowest = this.walk(run, seconds);
    this.addWaiting(run);
    if (slowest < 0) return;
    this.slowest[slowest]++;
    own.slowest[slowest]++;
    this.addInstances(run, base, own, slowest);
  }

  /** What was seen; `ep` is the observer of standard EP. */
  explain(ep: PathObserver): Omit<PolicyExplanation, 'policy' | 'anchor' | 'prediction'> {
    const perLayer = (sum: number) => sum / this.layers;
    return {
      seconds: perLayer(this.phases.reduce((sum, x) => sum + x, 0)),
      phases: PHASES.map((phase, p) => ({
        phase,
        seconds: perLayer(this.phases[p]),
        beyondEp: ep === this ? null : perLayer(this.phases[p]) - ep.phases[p] / ep.layers,
      }))
        .filter(({ seconds, beyondEp }) => seconds > 0 || (beyondEp ?? 0) !== 0)
        .sort((a, b) => b.seconds - a.seconds),
      transfer: perLayer(this.transfer),
      waiting: perLayer(this.waiting.reduce((sum, x) => sum + x, 0)) / this.source.gpus,
      gpus: Array.from(this.work, (work, gpu): GpuExplanation => ({
        gpu,
        work: perLayer(work),
        exchanges: perLayer(this.exchanges[gpu]),
        slowest: perLayer(this.slowest[gpu]),
        waiting: perLayer(this.waiting[gpu]),
        load: perLayer(this.load[gpu]),
      })),
      layers: this.byLayer.map((own, layer) => own.explain(this.source.layerIds[layer])),
      experts: this.byLayer
        .flatMap((own, layer) => own.hotInstances(this.source.layerIds[layer]))
        .sort((a, b) => b.share * (b.timesMean - 1) - a.share * (a.timesMean - 1))
        .slice(0, NAMED),
    };
  }

  /** Follows the critical path of the layer that ran last; returns the GPU of the experts on it, or −1. */
  private walk(run: PolicyRun, seconds: number): number {
    const { executor } = run.program;
    const { graph, start, end } = executor;
    const busiest = this.busiestPort(run);
    const last = criticalEnd(executor);
    let slowest = -1;
    for (let task = last; task >= 0; task = criticalBefore(executor, task)) {
      const took = end[task] - start[task];
      const label = graph.labels[task];
      const owner = graph.owners[task];
      this.phases[label] += took;
      if (label === EXPERTS) slowest = owner;
      if (graph.transferOf[task] >= 0) {
        this.transfer += took;
        this.exchanges[owner < 0 ? busiest : owner] += took;
      } else if (owner >= 0) this.work[owner] += took;
    }
    const { planning } = run.plan!;
    const stall = planning?.stalls ? planning.seconds : 0;
    this.phases[REPLAN] += stall;
    // What comes before the layer's tasks, and is neither of them nor planning, moved weights.
    if (run.plan!.move) this.phases[MOVE] += seconds - end[last] - stall;
    return slowest;
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

  private addWaiting({ program: { executor, rendezvous } }: PolicyRun): void {
    for (const { task, arrivals } of rendezvous) {
      arrivals.forEach((arrival, gpu) => (this.waiting[gpu] += executor.start[task] - executor.end[arrival]));
    }
  }

  private addInstances({ plan, work }: PolicyRun, base: LayerLoads, own: LayerSums, slowest: number): void {
    const { count, expert, gpu, copies } = this.instances.of(plan!, base);
    if (base.total === 0 || work.copies[slowest] === 0) return;
    for (let i = 0; i < count; i++) {
      if (gpu[i] === slowest && copies[i] > 0)
        own.addInstance(
          expert[i],
          slowest,
          (copies[i] * base.experts) / base.total,
          copies[i] / work.copies[slowest],
        );
    }
  }
}

/** Sums over the steps of one layer. */
class LayerSums {
  steps = 0;
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
    const { slowest, steps, seconds, gamma } = this;
    const most = slowest.reduce((best, count, gpu) => (count > slowest[best] ? gpu : best), 0);
    return {
      layer,
      seconds: seconds / steps,
      gamma: gamma / steps,
      slowest: slowest[most] > 0 ? { gpu: most, share: slowest[most] / steps } : null,
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
