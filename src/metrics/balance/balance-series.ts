import { deviation } from 'd3-array';
import { balanceMetrics } from './balance-metrics.js';
import { layerBalance, type LayerBalance } from './layer-balance.js';

/** Values of all balance metrics, by key. */
export type BalanceValues = Record<string, number>;

/** Balance of one unit (GPUs, experts) over the steps of a run. */
export interface Balance {
  /** Mean over steps of each metric of a step. */
  steps: BalanceValues;
  /** Each metric of the loads summed over a window of steps, mean over windows; null where units change on the way. */
  windows: BalanceValues | null;
  /** Standard deviation (n − 1) of the imbalance ratio over all layers of all steps, as TensorRT-LLM prints it beside the mean. */
  imbalanceRatioDeviation: number;
}

/** Collects the loads of one unit, layer by layer and step by step. */
export class BalanceSeries {
  private readonly layers: LayerBalance[][] = [];
  private readonly windows: LayerBalance[][] = [];
  private readonly sums: Float64Array[] | null;

  /**
   * @param layerCount layers of a step
   * @param window steps whose loads are summed; null: loads are not summed, since units change on the way
   */
  constructor(
    private readonly layerCount: number,
    units: number,
    private readonly window: number | null,
  ) {
    this.sums = window === null ? null : Array.from({ length: layerCount }, () => new Float64Array(units));
  }

  /** Takes the loads of a layer; layers of a step come in order, steps too. */
  add(layer: number, loads: Float64Array): void {
    if (layer === 0) this.layers.push([]);
    this.layers[this.layers.length - 1].push(layerBalance(loads));
    if (this.sums === null) return;
    const sum = this.sums[layer];
    for (let i = 0; i < loads.length; i++) sum[i] += loads[i];
    if (layer === this.layerCount - 1 && this.layers.length % this.window! === 0) this.closeWindow();
  }

  /** What was collected, once all is; windows that are not full count only where none is. */
  finish(): Balance {
    if (this.sums !== null && this.windows.length === 0) this.closeWindow();
    return {
      steps: meanValues(this.layers),
      windows: this.sums === null ? null : meanValues(this.windows),
      imbalanceRatioDeviation: deviation(this.layers.flat(), ({ maxVioGlobal }) => maxVioGlobal) ?? 0,
    };
  }

  /** Metrics of one layer of one step alone: those of `balanceMetrics` that are of layers, in their order. */
  valuesOf(step: number, layer: number): number[] {
    return balanceMetrics.filter(({ ofLayers }) => ofLayers).map(({ of }) => of([this.layers[step][layer]]));
  }

  private closeWindow(): void {
    this.windows.push(this.sums!.map(layerBalance));
    for (const sum of this.sums!) sum.fill(0);
  }
}

function meanValues(steps: readonly (readonly LayerBalance[])[]): BalanceValues {
  return Object.fromEntries(
    balanceMetrics.map(({ key, of }) => [
      key,
      steps.reduce((sum, layers) => sum + of(layers), 0) / steps.length,
    ]),
  );
}
