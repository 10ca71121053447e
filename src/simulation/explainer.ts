import { oracleOf, type LayerLoads } from '../balancing/index.js';
import type { Machine } from '../execution/index.js';
import { skewOf, type Skew } from '../metrics/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { PolicyExplanation } from './explanation.js';
import type { LayerPosition } from './pass.js';
import { PathObserver } from './path-observer.js';
import type { PolicyRun } from './policy-run.js';
import type { ListedPolicy } from './simulation-spec.js';

/**
 * Explains a run: where the time of its policies goes, and what their placements promise and keep. Beside the policies
 * it needs a twin of each that plans from the past, with the loads known in advance; `policies` holds both.
 */
export class Explainer {
  /** What must be simulated: the run's policies, then the twins. */
  readonly policies: readonly ListedPolicy[];
  private readonly observers: PathObserver[];
  /** By policy simulated: the index of the one that it is the twin of, or −1. */
  private readonly twinOf: number[];
  private readonly skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };

  /** @param asked policies of the run, among them `ep` */
  constructor(
    private readonly asked: readonly ListedPolicy[],
    source: RoutingSource,
    machine: Machine,
  ) {
    const twins = asked.map(({ options }) => oracleOf(options));
    this.policies = [
      ...asked,
      ...twins.flatMap((options) => (options === null ? [] : [{ options, anchor: true }])),
    ];
    this.twinOf = [
      ...asked.map(() => -1),
      ...twins.flatMap((options, policy) => (options === null ? [] : [policy])),
    ];
    this.observers = asked.map(() => new PathObserver(source, machine.cluster.profile));
  }

  /** Looks at the tasks of a layer, and at the layer; pass both to the simulation. */
  readonly onTasks = (run: PolicyRun, at: LayerPosition, layers: number): void => {
    if (this.twinOf[at.policy] < 0) this.observers[at.policy].observeTasks(run, at, layers);
  };

  /** See `onTasks`. */
  readonly onLayer = (run: PolicyRun, base: LayerLoads, seconds: number, at: LayerPosition): void => {
    const policy = this.twinOf[at.policy];
    if (policy < 0) {
      this.observers[at.policy].observeLayer(run, base, seconds, at);
      return;
    }
    if (at.step < 0) return;
    const { maxOverMean } = skewOf(run.work.copies, this.skew);
    this.observers[policy].placements.seeOracle(at.batch.layer, maxOverMean);
  };

  /** What was seen, by policy of the run. */
  finish(): PolicyExplanation[] {
    const ep = this.observers[this.asked.findIndex(({ options }) => options.kind === 'ep')];
    return this.asked.map(({ options, anchor }, i) => ({
      policy: options,
      anchor,
      ...this.observers[i].explain(ep),
      prediction: this.observers[i].placements.prediction,
    }));
  }
}
