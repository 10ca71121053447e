import { binomial, NO_EXPERT, randomStream, type TokenTable } from '../routing/index.js';
import { LayerLoads } from './layer-work.js';
import type { Placement } from './placement.js';
import { Slices, SlotCopies, type Drop, type LayerPlan, type SharedWork } from './plan.js';

/** A batch of one layer with its plan: the whole, or a part of it. */
export interface PlannedBatch {
  plan: LayerPlan;
  base: LayerLoads;
  /** null where only counts are known. */
  tokens: TokenTable | null;
  /** Tokens by source GPU. */
  tokensBySource: ArrayLike<number>;
}

/**
 * Cuts a planned batch into parts that run one after another: every source's tokens, in their order, into equal
 * parts. Each part has loads of its own, counted where tokens are known; else drawn, so that a source's copies fall
 * to parts at random. The plan of the whole holds for the parts: an expert's copies keep their shares of slots and
 * slices. Weights that travel within the step do so in the first part. Parts are reused from call to call.
 */
export class BatchParts {
  private readonly parts: Part[] = [];

  /** @param home of the experts, as `LayerLoads` takes it */
  constructor(
    private readonly gpus: number,
    private readonly experts: number,
    private readonly home: Int32Array,
  ) {}

  /** @param seed names the draws where only counts are known */
  cut(whole: PlannedBatch, count: number, seed: string): readonly PlannedBatch[] {
    const { parts, gpus, experts, home } = this;
    while (parts.length < count) parts.push(new Part(gpus, experts, home));
    const rest = new Rest(whole, gpus);
    this.cutTokens(whole, count);
    if (whole.tokens) this.countTokens(whole.tokens, count);
    else this.drawCounts(whole, count, seed);
    for (let p = 0; p < count; p++) parts[p].take(whole, rest, p === 0);
    return parts.slice(0, count);
  }

  private cutTokens({ tokensBySource }: PlannedBatch, count: number): void {
    for (let source = 0; source < this.gpus; source++) {
      const tokens = tokensBySource[source];
      for (let p = 0; p < count; p++) {
        this.parts[p].tokensBySource[source] =
          Math.floor(((p + 1) * tokens) / count) - Math.floor((p * tokens) / count);
      }
    }
  }

  private countTokens(table: TokenTable, count: number): void {
    const { parts, gpus } = this;
    const partOf = new Int32Array(gpus);
    const left = Float64Array.from(parts[0].tokensBySource);
    for (let p = 0; p < count; p++) parts[p].startTokens(table);
    for (let token = 0; token < table.count; token++) {
      const source = table.source[token];
      while (left[source] === 0 && partOf[source] < count - 1)
        left[source] = parts[++partOf[source]].tokensBySource[source];
      left[source]--;
      parts[partOf[source]].addToken(table, token);
    }
  }

  private drawCounts({ base }: PlannedBatch, count: number, seed: string): void {
    const { parts, gpus, experts } = this;
    const random = randomStream(seed, 'parts');
    const rest = Int32Array.from(base.counts);
    for (let source = 0; source < gpus; source++) {
      const row = source * experts;
      let tokens = 0;
      for (let p = 0; p < count; p++) tokens += parts[p].tokensBySource[source];
      for (let p = 0; p < count; p++) {
        const own = parts[p].tokensBySource[source];
        let open = 0;
        for (let e = 0; e < experts; e++) open += rest[row + e];
        let wanted = p === count - 1 ? open : Math.round((open * own) / tokens);
        tokens -= own;
        for (let e = 0; e < experts; e++) {
          const copies = rest[row + e];
          const drawn = copies === 0 ? 0 : binomial(copies, wanted / open, random);
          // A token picks an expert once (but for one pattern), so that no part gets more copies than tokens.
          const once = copies > own + tokens ? drawn : Math.max(Math.min(drawn, own), copies - tokens);
          const taken = Math.min(Math.max(once, wanted - (open - copies)), copies, wanted);
          parts[p].counts[row + e] = taken;
          rest[row + e] -= taken;
          open -= copies;
          wanted -= taken;
        }
      }
    }
  }
}

/** What earlier parts have left of a batch. */
class Rest {
  readonly counts: Int32Array;
  readonly slots: Int32Array | null;
  /** Copies by slice and source GPU, [slice · gpus + source]. */
  readonly slices: Int32Array | null;
  readonly kept: Int32Array | null;
  readonly sent: Int32Array | null;
  readonly rows: Int32Array | null;
  /** Tokens by source GPU, and those of shared experts, [source · gpus + gpu]. */
  readonly tokens: Float64Array;
  readonly shared: Int32Array | null;

  constructor({ plan, base, tokensBySource }: PlannedBatch, gpus: number) {
    const { slotCopies, slices, drop, shared } = plan;
    this.tokens = Float64Array.from(tokensBySource);
    this.shared = shared ? Int32Array.from(shared.copies) : null;
    this.counts = Int32Array.from(base.counts);
    this.slots = slotCopies && Int32Array.from(slotCopies.copies);
    this.slices = slices && slicesBySource(slices, base, gpus);
    this.kept = drop && Int32Array.from(drop.kept);
    this.sent = drop?.sent ? Int32Array.from(drop.sent) : null;
    this.rows = drop?.rows ? Int32Array.from(drop.rows) : null;
  }
}

function slicesBySource({ count, expert, start, end }: Slices, base: LayerLoads, gpus: number): Int32Array {
  const cells = new Int32Array(count * gpus);
  for (let slice = 0; slice < count; slice++) {
    for (let source = 0, at = 0; source < gpus; source++) {
      const until = at + base.counts[source * base.experts + expert[slice]];
      const own = Math.min(until, end[slice]) - Math.max(at, start[slice]);
      if (own > 0) cells[slice * gpus + source] = own;
      at = until;
    }
  }
  return cells;
}

/** One part; its arrays are reused. */
class Part implements PlannedBatch {
  readonly base: LayerLoads;
  readonly counts: Int32Array;
  readonly tokensBySource: Float64Array;
  tokens: TokenTable | null = null;
  plan!: LayerPlan;
  private keptCopies: Uint8Array | null = null;
  /** Tokens of the whole batch, by token of this part. */
  private readonly origin: number[] = [];

  constructor(
    private readonly gpus: number,
    private readonly experts: number,
    home: Int32Array,
  ) {
    this.base = new LayerLoads(gpus, experts, home);
    this.counts = new Int32Array(gpus * experts);
    this.tokensBySource = new Float64Array(gpus);
  }

  startTokens({ topK }: TokenTable): void {
    const most = this.tokensBySource.reduce((sum, tokens) => sum + tokens, 0);
    this.counts.fill(0);
    this.origin.length = 0;
    this.tokens = {
      count: 0,
      topK,
      experts: new Uint16Array(most * topK),
      source: new Uint16Array(most),
      weights: null,
    };
  }

  addToken(from: TokenTable, token: number): void {
    const { topK } = from;
    const own = this.tokens!;
    const at = own.count++;
    this.origin.push(token);
    own.source[at] = from.source[token];
    for (let choice = 0; choice < topK; choice++) {
      const expert = from.experts[token * topK + choice];
      own.experts[at * topK + choice] = expert;
      if (expert !== NO_EXPERT) this.counts[from.source[token] * this.experts + expert]++;
    }
  }

  /** Takes its copies from what is left of the batch, and makes a plan for them. */
  take({ plan, tokens }: PlannedBatch, rest: Rest, first: boolean): void {
    if (tokens === null) this.tokens = null;
    this.base.count(this.counts);
    this.plan = {
      ...plan,
      move: null,
      transfers: first ? plan.transfers : null,
      background: first ? plan.background : null,
      slotCopies: rest.slots && this.takeSlots(plan.placement, plan.slotCopies!.slots, rest),
      slices: rest.slices && this.takeSlices(plan.slices!, rest),
      drop: plan.drop && this.takeDrop(plan.drop, rest),
      shared: plan.shared ? this.takeShared(plan.shared, rest) : null,
    };
    for (let cell = 0; cell < this.counts.length; cell++) rest.counts[cell] -= this.counts[cell];
  }

  private takeSlots({ firstInstance, instance }: Placement, slots: number, rest: Rest): SlotCopies {
    const { gpus, experts, counts } = this;
    const own = new SlotCopies(gpus).reset(slots);
    for (let cell = 0; cell < counts.length; cell++) {
      const source = Math.floor(cell / experts);
      const share = new Share(counts[cell], rest.counts[cell]);
      for (let i = firstInstance[cell % experts]; i < firstInstance[(cell % experts) + 1]; i++) {
        const at = source * slots + instance[i];
        own.copies[at] = share.of(rest.slots![at]);
        rest.slots![at] -= own.copies[at];
      }
    }
    return own;
  }

  private takeSlices({ count, expert, gpu }: Slices, rest: Rest): Slices {
    const { gpus, experts, counts } = this;
    const own = new Slices(count);
    const shares: Share[] = [];
    let position = 0;
    for (let slice = 0; slice < count; slice++) {
      const e = expert[slice];
      if (slice === 0 || expert[slice - 1] !== e) {
        position = 0;
        for (let s = 0; s < gpus; s++)
          shares[s] = new Share(counts[s * experts + e], rest.counts[s * experts + e]);
      }
      let size = 0;
      for (let source = 0; source < gpus; source++) {
        const at = slice * gpus + source;
        const taken = shares[source].of(rest.slices![at]);
        rest.slices![at] -= taken;
        size += taken;
      }
      if (size > 0) own.add(e, gpu[slice], position, position + size);
      position += size;
    }
    return own;
  }

  private takeShared({ experts }: SharedWork, rest: Rest): SharedWork {
    const { gpus, tokensBySource } = this;
    const copies = new Int32Array(gpus * gpus);
    for (let source = 0; source < gpus; source++) {
      const share = new Share(tokensBySource[source], rest.tokens[source]);
      for (let at = source * gpus; at < (source + 1) * gpus; at++) {
        copies[at] = share.of(rest.shared![at]);
        rest.shared![at] -= copies[at];
      }
      rest.tokens[source] -= tokensBySource[source];
    }
    return { experts, copies };
  }

  private takeDrop({ keptCopies, ...drop }: Drop, rest: Rest): Drop {
    const { counts, experts } = this;
    const kept = keptCopies ? this.keepTokens(keptCopies) : new Int32Array(counts.length);
    const sent = rest.sent && new Int32Array(counts.length);
    const rows = rest.rows && new Int32Array(experts);
    for (let cell = 0; cell < counts.length; cell++) {
      const share = new Share(counts[cell], rest.counts[cell]);
      if (!keptCopies) kept[cell] = share.of(rest.kept![cell]);
      rest.kept![cell] -= kept[cell];
      if (sent === null) continue;
      // Padding fills up to the same share as copies do; what is kept must be sent.
      const padded = Math.max(kept[cell], new Share(counts[cell], rest.counts[cell]).of(rest.sent![cell]));
      sent[cell] = Math.min(padded, rest.sent![cell] - rest.kept![cell]);
      rest.sent![cell] -= sent[cell];
    }
    if (rows !== null) {
      const computed = sent ?? kept;
      for (let e = 0; e < experts; e++) {
        let own = 0;
        let left = 0;
        for (let cell = e; cell < counts.length; cell += experts) {
          own += computed[cell];
          left += (rest.sent ?? rest.kept!)[cell];
        }
        const padded = left + own === 0 ? rest.rows![e] : Math.round((rest.rows![e] * own) / (left + own));
        rows[e] = Math.min(Math.max(padded, own), rest.rows![e] - left);
        rest.rows![e] -= rows[e];
      }
    }
    return { ...drop, kept, sent, rows, keptCopies: this.keptCopies };
  }

  private keepTokens(ofWhole: Uint8Array): Int32Array {
    const { counts, experts, origin } = this;
    const { topK, source, experts: picks } = this.tokens!;
    const kept = new Int32Array(counts.length);
    this.keptCopies = new Uint8Array(origin.length * topK);
    origin.forEach((token, own) => {
      for (let choice = 0; choice < topK; choice++) {
        const copy = own * topK + choice;
        this.keptCopies![copy] = ofWhole[token * topK + choice];
        if (picks[copy] !== NO_EXPERT) kept[source[own] * experts + picks[copy]] += this.keptCopies![copy];
      }
    });
    return kept;
  }
}

/**
 * Hands out a part's copies of a source and expert over the cells that hold the rest's: whole numbers in proportion,
 * none more than a cell has, all of them together the part's.
 */
class Share {
  private passed = 0;

  constructor(
    private readonly own: number,
    private readonly all: number,
  ) {}

  of(cell: number): number {
    if (this.all === 0) return 0;
    const before = Math.floor((this.passed * this.own) / this.all);
    this.passed += cell;
    return Math.floor((this.passed * this.own) / this.all) - before;
  }
}
