import type { Random } from '../../routing/index.js';
import { ExpertCache } from './expert-cache.js';
import { HIGH, LOW, SKIP } from './gate-classes.js';
import type { EvictionWeights } from './options.js';
import type { Usage } from './usage.js';

/** What a predicted expert is worth beyond all others when one must leave for an expert that is needed now. */
const PREDICTED = 1e6;

/** What one GPU's caches and link have done; lists are by precision: [–, low, high]. */
export interface LoadCounts {
  /** Experts wanted by a layer, those found in a cache, and those found on their way. */
  requests: number[];
  hits: number[];
  late: number[];
  /** Loads because a layer waits, and loads because somebody predicts. */
  demanded: number[];
  prefetched: number[];
  /** Prefetched experts that were used, and that left the cache unused. */
  usefulPrefetches: number;
  wastedPrefetches: number;
  /** Experts that the host computed. */
  byHost: number;
}

function newCounts(): LoadCounts {
  const byPrecision = () => [0, 0, 0];
  return {
    requests: byPrecision(),
    hits: byPrecision(),
    late: byPrecision(),
    demanded: byPrecision(),
    prefetched: byPrecision(),
    usefulPrefetches: 0,
    wastedPrefetches: 0,
    byHost: 0,
  };
}

/** What a layer gets of an expert that it wants: a precision that is (or will be) in memory, or nothing. */
export type Granted = typeof HIGH | typeof LOW | typeof SKIP;

/** What the loads of one GPU depend on. */
export interface LoaderSpec {
  /** Slots of the two caches. */
  slots: { high: number; low: number };
  /** Experts of all layers; a key is layer · experts + expert. */
  keys: number;
  usage: Usage;
  /** null: whoever leaves a full cache is drawn. */
  weights: EvictionWeights | null;
  random: Random;
  highServesLow: boolean;
  /** Whether missing experts are loaded, or computed by the host. */
  loadsMisses: boolean;
  /** Puts a load on the link. */
  send(key: number, precision: number): void;
}

/**
 * The expert caches of one GPU, one per precision, and the loads that fill them, one at a time: those that the layer
 * waits for before those that somebody predicts. A load that has begun is not broken off (HOBBIT, arXiv 2411.01433).
 */
export class ExpertLoader {
  counts = newCounts();
  /** Experts that the layer waits for. */
  waiting = 0;

  private readonly caches: readonly ExpertCache[];
  private layer = 0;
  /** Number of the layer among all layers so far, by which marks of earlier ones are told apart. */
  private serial = 0;
  private readonly neededIn: Int32Array;
  private readonly predictedIn: Int32Array;
  /** Precision of a load that the layer waits for, by key; 0: none. */
  private readonly awaited: Uint8Array;
  /** 1 where an expert was prefetched and not used yet, by precision and key. */
  private readonly unused: readonly Uint8Array[];
  private readonly demands: number[] = [];
  private readonly prefetches: number[] = [];
  private nextDemand = 0;
  private nextPrefetch = 0;
  /** What the link carries, until its arrival was told. */
  private isLinkBusy = false;
  private loadingKey = 0;
  private loadingPrecision = 0;

  constructor(private readonly spec: LoaderSpec) {
    const { slots, keys } = spec;
    this.caches = [
      new ExpertCache(0, 0),
      new ExpertCache(slots.low, keys),
      new ExpertCache(slots.high, keys),
    ];
    this.neededIn = new Int32Array(keys);
    this.predictedIn = new Int32Array(keys);
    this.awaited = new Uint8Array(keys);
    this.unused = [0, 1, 2].map(() => new Uint8Array(keys));
  }

  /** Forgets what was counted. */
  resetCounts(): void {
    this.counts = newCounts();
  }

  /** A layer begins: what was predicted before and has not begun to load is forgotten. */
  startLayer(layer: number): void {
    this.layer = layer;
    this.serial++;
    this.demands.length = this.prefetches.length = 0;
    this.nextDemand = this.nextPrefetch = 0;
  }

  /** Says that the layer uses an expert, so that it stays; for all of them before the first `want`. */
  keep(key: number): void {
    this.neededIn[key] = this.serial;
  }

  /**
   * Asks for an expert of the layer.
   * @param wanted class of the gate weights
   * @returns the precision that it will be computed in; SKIP where it is left out, or computed by the host
   */
  want(key: number, wanted: number): Granted {
    const { counts, caches, spec } = this;
    const held = this.heldFor(key, wanted);
    if (wanted === SKIP) {
      if (held !== SKIP) this.use(key, held, false);
      return held;
    }
    counts.requests[wanted]++;
    if (held !== SKIP) {
      counts.hits[wanted]++;
      this.use(key, held, wanted === HIGH);
      return held;
    }
    spec.usage.note(key, wanted === HIGH);
    const onItsWay =
      caches[HIGH].isLoading(key) && (wanted === HIGH || spec.highServesLow)
        ? HIGH
        : wanted === LOW && caches[LOW].isLoading(key)
          ? LOW
          : SKIP;
    if (onItsWay !== SKIP) {
      counts.late[wanted]++;
      this.await(key, onItsWay);
      return onItsWay;
    }
    const precision = wanted === HIGH ? HIGH : LOW;
    if (!spec.loadsMisses) {
      counts.byHost++;
      if (!caches[precision].isFull) this.prefetch(key, precision);
      return SKIP;
    }
    counts.demanded[precision]++;
    this.await(key, precision);
    this.demands.push(key, precision);
    return precision;
  }

  /** Whether an expert of a coming layer is there, or on its way, for this class; it stays if it can. */
  expects(key: number, wanted: number): boolean {
    this.predictedIn[key] = this.serial;
    if (this.heldFor(key, wanted) !== SKIP) return true;
    return this.caches[HIGH].isLoading(key) || (wanted === LOW && this.caches[LOW].isLoading(key));
  }

  /** Loads an expert when nothing that a layer waits for is left to load. */
  prefetch(key: number, precision: number): void {
    this.prefetches.push(key, precision);
  }

  /** Puts the next load on the link, if it is free. */
  pump(): void {
    if (this.isLinkBusy) return;
    if (this.nextDemand < this.demands.length) {
      const key = this.demands[this.nextDemand++];
      const precision = this.demands[this.nextDemand++];
      if (!this.makeRoom(precision, true))
        throw new Error('no expert may leave the cache for one that is needed');
      this.begin(key, precision);
      return;
    }
    while (this.nextPrefetch < this.prefetches.length) {
      const key = this.prefetches[this.nextPrefetch++];
      const precision = this.prefetches[this.nextPrefetch++];
      if (!this.caches[precision].isAbsent(key) || !this.makeRoom(precision, false)) continue;
      this.counts.prefetched[precision]++;
      this.unused[precision][key] = 1;
      this.begin(key, precision);
      return;
    }
  }

  /** The load on the link has ended. @returns whether the layer waits for nothing any more, and did until now */
  arrive(): boolean {
    const key = this.loadingKey;
    this.isLinkBusy = false;
    this.caches[this.loadingPrecision].arrive(key);
    const isAwaited = this.awaited[key] === this.loadingPrecision;
    if (isAwaited) {
      this.awaited[key] = 0;
      this.markUsed(key, this.loadingPrecision);
      this.waiting--;
    }
    return isAwaited && this.waiting === 0;
  }

  /** The precision in memory that serves a class; SKIP where there is none. */
  private heldFor(key: number, wanted: number): Granted {
    const { caches, spec } = this;
    if (wanted === HIGH) return caches[HIGH].has(key) ? HIGH : SKIP;
    if (caches[LOW].has(key)) return LOW;
    return spec.highServesLow && caches[HIGH].has(key) ? HIGH : SKIP;
  }

  private use(key: number, held: number, high: boolean): void {
    this.spec.usage.note(key, high);
    this.markUsed(key, held);
  }

  private markUsed(key: number, precision: number): void {
    if (this.unused[precision][key] === 0) return;
    this.unused[precision][key] = 0;
    this.counts.usefulPrefetches++;
  }

  private await(key: number, precision: number): void {
    this.awaited[key] = precision;
    this.waiting++;
  }

  private begin(key: number, precision: number): void {
    this.caches[precision].reserve(key);
    this.isLinkBusy = true;
    this.loadingKey = key;
    this.loadingPrecision = precision;
    this.spec.send(key, precision);
  }

  /** @param isDemand whether predicted experts may leave too, where no other can */
  private makeRoom(precision: number, isDemand: boolean): boolean {
    const cache = this.caches[precision];
    if (!cache.isFull) return true;
    const { usage } = this.spec;
    const leaving = cache.leastWorth(
      (key) => this.worth(key, isDemand),
      (key, other) => usage.isOlder(key, other),
    );
    if (leaving < 0) return false;
    if (this.unused[precision][leaving] === 1) {
      this.unused[precision][leaving] = 0;
      this.counts.wastedPrefetches++;
    }
    cache.evict(leaving);
    return true;
  }

  private worth(key: number, isDemand: boolean): number {
    if (this.neededIn[key] === this.serial) return Infinity;
    const isPredicted = this.predictedIn[key] === this.serial;
    if (isPredicted && !isDemand) return Infinity;
    const { weights, usage, random } = this.spec;
    const own = weights === null ? random() : usage.worth(key, this.layer, weights);
    return isPredicted ? PREDICTED + own : own;
  }
}
