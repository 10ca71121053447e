import { InstanceLoads, policyLabel, type LayerLoads, type PolicyOptions } from '../balancing/index.js';
import { balanceMetrics, BalanceSeries } from '../metrics/index.js';
import { NO_EXPERT, type RoutingSource, type TokenTable } from '../routing/index.js';
import type { BalanceReport, FanOut } from './balance-report.js';
import type { LayerPosition } from './pass.js';
import type { PolicyRun } from './policy-run.js';

/** Sums over the layers of all steps that one policy's balance is made of. */
class PolicySums {
  layers = 0;
  active = 0;
  largestActive = 0;
  rows = 0;
  roundedRows = 0;
  copies = 0;
  away = 0;
  otherNode = 0;
  fanOut: FanOutSums | null;

  constructor(
    readonly gpu: BalanceSeries,
    readonly instance: BalanceSeries,
    gpus: number,
    gpusPerNode: number,
  ) {
    this.fanOut = new FanOutSums(gpus, gpusPerNode);
  }
}

/** Collects the loads of a run and says how even they are, by every definition that engines print. */
export class BalanceObserver {
  private readonly gpuBefore: BalanceSeries;
  private readonly expertBefore: BalanceSeries;
  private readonly fanOutBefore: FanOutSums;
  private readonly sums: PolicySums[];
  private readonly instances = new InstanceLoads();

  /**
   * @param policies those of the run, in its order
   * @param window steps whose loads are summed; null: all
   */
  constructor(
    private readonly policies: readonly PolicyOptions[],
    { gpus, experts, layerIds }: RoutingSource,
    private readonly gpusPerNode: number,
    private readonly window: number | null,
  ) {
    const series = (units: number, of: number | null) => new BalanceSeries(layerIds.length, units, of);
    const steps = window ?? Infinity;
    this.gpuBefore = series(gpus, steps);
    this.expertBefore = series(experts, steps);
    this.fanOutBefore = new FanOutSums(gpus, gpusPerNode);
    this.sums = policies.map(() => new PolicySums(series(gpus, steps), series(0, null), gpus, gpusPerNode));
  }

  /** Looks at a layer; pass it to a simulation. */
  readonly observe = (
    { plan, work }: PolicyRun,
    base: LayerLoads,
    _seconds: number,
    { policy, step, batch }: LayerPosition,
  ): void => {
    if (step < 0) return;
    const sums = this.sums[policy];
    if (policy === 0) {
      this.gpuBefore.add(batch.layer, base.homeLoads);
      this.expertBefore.add(batch.layer, base.loads);
      this.fanOutBefore.add(batch.tokens, base.home);
    }
    sums.gpu.add(batch.layer, work.copies);
    const { copies, count } = this.instances.of(plan!, base);
    sums.instance.add(batch.layer, copies.subarray(0, count));
    const atHome = !plan!.uniform && !plan!.slices && !plan!.slotCopies && !plan!.drop;
    if (atHome) sums.fanOut?.add(batch.tokens, plan!.placement.home);
    else sums.fanOut = null;
    this.addWork(sums, work);
  };

  /** What was seen, once the run is done. */
  finish(): BalanceReport {
    return {
      window: this.window,
      metrics: balanceMetrics.map(({ key, name, formula, even, usedBy }) => ({
        key,
        name,
        formula,
        even,
        usedBy,
      })),
      before: {
        gpu: this.gpuBefore.finish(),
        expert: this.expertBefore.finish(),
        fanOut: this.fanOutBefore.mean,
      },
      policies: this.sums.map((sums, i) => ({
        policy: policyLabel(this.policies[i]),
        gpu: sums.gpu.finish(),
        instance: sums.instance.finish(),
        activeInstances: { mean: sums.active / sums.layers, largest: sums.largestActive / sums.layers },
        paddingShare: sums.roundedRows > 0 ? 1 - sums.rows / sums.roundedRows : 0,
        awayShare: sums.copies > 0 ? sums.away / sums.copies : 0,
        otherNodeShare: sums.copies > 0 ? sums.otherNode / sums.copies : 0,
        fanOut: sums.fanOut?.mean ?? null,
      })),
    };
  }

  /**
   * Metrics of one layer of one step, by unit and key of a metric that is of layers: before, then after each policy.
   */
  layerValues(step: number, layer: number): number[] {
    const after = this.sums.flatMap(({ gpu, instance }) => [gpu, instance]);
    return [this.gpuBefore, this.expertBefore, ...after].flatMap((series) => series.valuesOf(step, layer));
  }

  /** Names of those values. */
  get layerColumns(): string[] {
    const keys = balanceMetrics.filter(({ ofLayers }) => ofLayers).map(({ key }) => key);
    const named = ['at home: gpu', 'at home: expert'].concat(
      this.policies.flatMap((options) => [
        `${policyLabel(options)}: gpu`,
        `${policyLabel(options)}: instance`,
      ]),
    );
    return named.flatMap((name) => keys.map((key) => `${name} ${key}`));
  }

  private addWork(sums: PolicySums, work: PolicyRun['work']): void {
    const { copies, send } = work;
    const gpus = copies.length;
    let largest = 0;
    for (let gpu = 0; gpu < gpus; gpu++) {
      const active = work.activeOn(gpu);
      sums.active += active / gpus;
      largest = Math.max(largest, active);
      sums.rows += work.rowsOn(gpu);
      sums.roundedRows += work.roundedRowsOn(gpu);
    }
    sums.largestActive += largest;
    sums.layers++;
    for (let source = 0; source < gpus; source++) {
      const node = Math.floor(source / this.gpusPerNode);
      for (let gpu = 0; gpu < gpus; gpu++) {
        const amount = send[source * gpus + gpu];
        sums.copies += amount;
        if (gpu !== source) sums.away += amount;
        if (Math.floor(gpu / this.gpusPerNode) !== node) sums.otherNode += amount;
      }
    }
  }
}

/** Distinct GPUs and nodes of the experts of tokens. */
class FanOutSums {
  private tokens = 0;
  private gpus = 0;
  private nodes = 0;
  private token = 0;
  private readonly seenGpu: Float64Array;
  private readonly seenNode: Float64Array;

  constructor(
    gpus: number,
    private readonly gpusPerNode: number,
  ) {
    this.seenGpu = new Float64Array(gpus);
    this.seenNode = new Float64Array(Math.ceil(gpus / gpusPerNode));
  }

  /** @param home GPU by expert */
  add(table: TokenTable | null, home: Int32Array): void {
    if (table === null) return;
    const { count, topK, experts } = table;
    for (let token = 0; token < count; token++) {
      this.token++;
      for (let choice = 0; choice < topK; choice++) {
        const expert = experts[token * topK + choice];
        if (expert === NO_EXPERT) continue;
        const gpu = home[expert];
        const node = Math.floor(gpu / this.gpusPerNode);
        if (this.seenGpu[gpu] !== this.token) this.gpus++;
        if (this.seenNode[node] !== this.token) this.nodes++;
        this.seenGpu[gpu] = this.seenNode[node] = this.token;
      }
    }
    this.tokens += count;
  }

  get mean(): FanOut | null {
    return this.tokens === 0 ? null : { gpus: this.gpus / this.tokens, nodes: this.nodes / this.tokens };
  }
}
