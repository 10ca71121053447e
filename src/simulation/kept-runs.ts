import type { PolicyOptions } from '../balancing/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { LayerObserver } from './pass.js';
import type { PolicyFigures } from './policy-figures.js';

/** Who watches policies one by one, and can be given what it saw of one in a simulation before. */
export interface Watcher {
  onLayer: LayerObserver;
  /** What it saw of a policy, and about how many bytes that takes; null: not all that there was to see. */
  seen(policy: number): { state: object; bytes: number } | null;
  /** Takes what another watcher of the same routing saw of a policy, which it will not see. */
  recall(policy: number, state: object): void;
  /** Whether it has of every policy what it would have seen of all in one simulation. */
  isWhole(): boolean;
  /** Forgets all that it saw and took. */
  forget(): void;
}

/** A policy's run, and what was seen of it. */
interface Kept {
  figures: PolicyFigures;
  /** null: nobody watched. */
  seen: object | null;
  bytes: number;
}

/** Of a run, beside its series: sums, peaks and names. */
const RUN_BYTES = 8192;

/**
 * Runs that are kept for scenarios that differ in other policies alone, as those of a sweep over a policy's options do:
 * policies do not know of each other.
 */
export class KeptRuns {
  /** By all that a run depends on; the one asked for longest ago first. */
  private readonly kept = new Map<string, Kept>();
  private bytes = 0;
  /** Numbers of sources, which are told apart by identity: which steps they have hangs on the policies, too. */
  private readonly sources = new WeakMap<RoutingSource, number>();
  private sourcesSeen = 0;

  /** @param mostBytes of the runs that are kept, about */
  constructor(private readonly mostBytes: number) {}

  /**
   * The runs over one source.
   * @param setting all that a run depends on but the source and its policy
   * @param watcher who watches the policies of the simulation; undefined: nobody
   */
  of(source: RoutingSource, setting: readonly unknown[], watcher?: Watcher): RunsOfSource {
    let number = this.sources.get(source);
    if (number === undefined) this.sources.set(source, (number = this.sourcesSeen++));
    const start = JSON.stringify([number, setting]);
    const keyOf = (options: PolicyOptions) => `${start}${JSON.stringify(options)}`;
    return {
      find: (policy, options) => {
        const known = this.find(keyOf(options));
        if (known === undefined || (watcher && known.seen === null)) return null;
        watcher?.recall(policy, known.seen!);
        return known.figures;
      },
      keep: (policy, options, figures) => {
        const seen = watcher?.seen(policy);
        if (seen === null) return;
        const key = keyOf(options);
        const bytes = RUN_BYTES + 2 * key.length + seriesBytes(figures) + (seen?.bytes ?? 0);
        this.keep(key, { figures, seen: seen?.state ?? null, bytes });
      },
    };
  }

  private find(key: string): Kept | undefined {
    const known = this.kept.get(key);
    if (known === undefined) return undefined;
    this.kept.delete(key);
    this.kept.set(key, known);
    return known;
  }

  private keep(key: string, run: Kept): void {
    this.giveUp(key);
    if (run.bytes > this.mostBytes) return;
    this.kept.set(key, run);
    this.bytes += run.bytes;
    for (const oldest of this.kept.keys()) {
      if (this.bytes <= this.mostBytes) break;
      this.giveUp(oldest);
    }
  }

  private giveUp(key: string): void {
    this.bytes -= this.kept.get(key)?.bytes ?? 0;
    this.kept.delete(key);
  }
}

/** Kept runs that differ in their policy alone. */
export interface RunsOfSource {
  /** What a policy's run left; null where it must run. @param policy its index in the simulation */
  find(policy: number, options: PolicyOptions): PolicyFigures | null;
  keep(policy: number, options: PolicyOptions, figures: PolicyFigures): void;
}

function seriesBytes({ series: { latencies, layerLatencies }, replicateMeans }: PolicyFigures): number {
  const byLayer = layerLatencies === latencies ? 0 : layerLatencies.byteLength;
  return latencies.byteLength + byLayer + 8 * (replicateMeans?.length ?? 0);
}
