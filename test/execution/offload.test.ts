import { describe, expect, it } from 'vitest';
import { ExpertLoader } from '../../src/execution/offload/expert-loader.js';
import { gateClasses, HIGH, LOW, SKIP } from '../../src/execution/offload/gate-classes.js';
import { HostMemory } from '../../src/execution/offload/host-memory.js';
import { evictionWeights, offloadSchema } from '../../src/execution/offload/options.js';
import { Prediction } from '../../src/execution/offload/prediction.js';
import { Usage } from '../../src/execution/offload/usage.js';
import { precisionBytes } from '../../src/execution/index.js';
import { completeShape, modelPresets, shapeSchema } from '../../src/model/index.js';
import { randomStream, type LayerBatch } from '../../src/routing/index.js';

function classesOf(...gates: number[]): number[] {
  const classes = new Int8Array(gates.length);
  gateClasses(gates, 0, gates.length, 0.6, 0.9, classes);
  return [...classes];
}

describe('classes of gate weights', () => {
  it('depend on the weight that stands before a choice; the first is always high', () => {
    expect(classesOf(0.55, 0.45)).toEqual([HIGH, HIGH]);
    expect(classesOf(0.7, 0.3)).toEqual([HIGH, LOW]);
    expect(classesOf(0.95, 0.05)).toEqual([HIGH, SKIP]);
    // Not sorted and not normalised: 6 of 10 stand before the 3, 9 of 10 before the 1.
    expect(classesOf(1, 6, 3)).toEqual([LOW, HIGH, HIGH]);
    // Alike: the first one named goes first.
    expect(classesOf(1, 1, 1)).toEqual([HIGH, HIGH, LOW]);
  });
});

describe('bytes of an expert', () => {
  const options = offloadSchema.parse({ strategies: [{}] });
  const bytes = (model: string) => {
    const shape = completeShape(shapeSchema.parse({ name: model, ...modelPresets[model] }));
    const { high, low } = precisionBytes({ shape } as never, options);
    return { high: high / 1e6, low: low / 1e6, all: (high * shape.experts * shape.moeLayers) / 2 ** 30 };
  };

  it('are those of Mixtral (352 MB and 88 MB, 84 GiB in all) and Phi (157 MB, 75 GiB in all)', () => {
    const mixtral = bytes('mixtral-8x7b');
    expect([Math.round(mixtral.high), Math.round(mixtral.low), mixtral.all]).toEqual([352, 88, 84]);
    const phi = bytes('phi-3.5-moe');
    expect([Math.round(phi.high), phi.all]).toEqual([157, 75]);
  });
});

/** A loader of two layers of four experts whose loads end when the test says so. */
function loader(slots: { high: number; low: number }, evict: 'lru' | 'lfu' | 'fld', loadsMisses = true) {
  const sent: [number, number][] = [];
  let busy = false;
  const usage = new Usage(2, 4);
  usage.startToken(true);
  const own = new ExpertLoader({
    slots,
    keys: 8,
    usage,
    weights: evictionWeights(evict),
    random: () => 0.5,
    highServesLow: true,
    loadsMisses,
    send(key, precision) {
      busy = true;
      sent.push([key, precision]);
    },
  });
  const arrive = () => {
    busy = false;
    const isReady = own.arrive();
    own.pump();
    return isReady;
  };
  /** A layer that wants experts in high precision, with all loads ended. */
  const layer = (index: number, ...keys: number[]) => {
    own.startLayer(index);
    keys.forEach((key) => own.keep(key));
    const granted = keys.map((key) => own.want(key, HIGH));
    own.pump();
    while (busy) arrive();
    return granted;
  };
  return { own, usage, sent, arrive, layer };
}

describe('the loader', () => {
  it('loads what a layer lacks, one expert after another, and says when all is there', () => {
    const { own, sent, arrive } = loader({ high: 4, low: 0 }, 'lru');
    own.startLayer(0);
    expect([own.want(1, HIGH), own.want(2, HIGH)]).toEqual([HIGH, HIGH]);
    own.pump();
    own.pump();
    expect(sent).toEqual([[1, HIGH]]);
    expect(arrive()).toBe(false);
    expect(sent).toEqual([
      [1, HIGH],
      [2, HIGH],
    ]);
    expect(arrive()).toBe(true);
    expect(own.waiting).toBe(0);
    expect(own.counts.demanded[HIGH]).toBe(2);
  });

  it('does not break a prefetch off: what a layer wants comes behind it, and before other prefetches', () => {
    const { own, sent, arrive } = loader({ high: 4, low: 0 }, 'lru');
    own.startLayer(0);
    own.prefetch(5, HIGH);
    own.prefetch(6, HIGH);
    own.pump();
    own.startLayer(1);
    own.prefetch(6, HIGH);
    own.want(7, HIGH);
    own.pump();
    expect(sent.map(([key]) => key)).toEqual([5]);
    arrive();
    expect(sent.map(([key]) => key)).toEqual([5, 7]);
    expect(arrive()).toBe(true);
    expect(sent.map(([key]) => key)).toEqual([5, 7, 6]);
  });

  it('waits for an expert that is on its way instead of loading it again', () => {
    const { own, sent, arrive } = loader({ high: 4, low: 0 }, 'lru');
    own.startLayer(0);
    own.prefetch(5, HIGH);
    own.pump();
    own.startLayer(1);
    own.want(5, HIGH);
    own.pump();
    expect(own.waiting).toBe(1);
    expect(arrive()).toBe(true);
    expect(sent.length).toBe(1);
    expect(own.counts).toMatchObject({ late: [0, 0, 1], usefulPrefetches: 1 });
  });

  it('lets the expert go that LRU, LFU or FLD values least, never one of the layer', () => {
    const evicted = (evict: 'lru' | 'lfu' | 'fld', run: (on: ReturnType<typeof loader>) => void) => {
      const on = loader({ high: 3, low: 0 }, evict);
      run(on);
      // Whoever is missing now is the one that left.
      return [0, 1, 4, 5].filter((key) => !on.own.expects(key, HIGH));
    };
    // Token 1 uses 0, 1 and 4, token 2 uses 1, 4 and 0 (in that order of layers: 1, 0 in layer 0, 4 in layer 1), then 5.
    const twice = ({ layer, usage }: ReturnType<typeof loader>) => {
      layer(0, 0);
      layer(0, 1);
      layer(1, 4);
      usage.startToken(false);
      layer(0, 1);
      layer(0, 0);
      layer(0, 0);
      layer(1, 5);
    };
    expect(evicted('lru', twice)).toEqual([4]);
    // 0 is used three times, 1 twice, 4 once.
    expect(evicted('lfu', twice)).toEqual([4]);
    // While layer 1 is computed, 0 and 1 are a layer away and worth 1 − 1/2, 4 is at distance 0 and worth 1; of the two
    // that are alike, 1 was used longer ago.
    expect(evicted('fld', twice)).toEqual([1]);
  });

  it('serves low precision from a high copy, and not the other way round', () => {
    const { own, layer, arrive } = loader({ high: 2, low: 2 }, 'lru');
    layer(0, 0);
    own.startLayer(0);
    expect(own.want(0, LOW)).toBe(HIGH);
    expect(own.want(1, LOW)).toBe(LOW);
    own.pump();
    arrive();
    own.startLayer(0);
    expect(own.want(1, HIGH)).toBe(HIGH);
    expect(own.counts.demanded).toEqual([0, 1, 2]);
  });

  it('loads nothing for a choice that is skipped, and uses it where it is there', () => {
    const { own, layer, sent } = loader({ high: 2, low: 2 }, 'lru');
    layer(0, 0);
    own.startLayer(0);
    expect([own.want(0, SKIP), own.want(1, SKIP)]).toEqual([HIGH, SKIP]);
    own.pump();
    expect(sent.length).toBe(1);
  });

  it('leaves misses to the host where that computes them, and fills free slots beside', () => {
    const { own, sent, arrive } = loader({ high: 1, low: 0 }, 'lru', false);
    own.startLayer(0);
    expect(own.want(0, HIGH)).toBe(SKIP);
    own.pump();
    arrive();
    own.startLayer(0);
    expect([own.want(0, HIGH), own.want(1, HIGH)]).toEqual([HIGH, SKIP]);
    own.pump();
    expect(sent.map(([key]) => key)).toEqual([0]);
    expect(own.counts.byHost).toBe(2);
  });
});

describe('use of experts', () => {
  it('is counted per sequence', () => {
    const usage = new Usage(4, 1);
    usage.startToken(true);
    usage.note(1, true);
    usage.startToken(false);
    usage.note(1, false);
    usage.startToken(false);
    usage.startToken(false);
    const only = (of: string) => ({ lru: 0, lfu: 0, lhu: 0, fld: 0, [of]: 1 });
    // Token 4: last used in token 2, used twice, once in high precision; from layer 2, layer 1 is three layers away of four.
    expect(usage.worth(1, 2, only('lru'))).toBe(2 / 4);
    expect(usage.worth(1, 2, only('lfu'))).toBe(2 / 4);
    expect(usage.worth(1, 2, only('lhu'))).toBe(1 / 4);
    expect(usage.worth(1, 2, only('fld'))).toBe(1 - 3 / 4);
    usage.startToken(true);
    expect(usage.worth(1, 2, only('lfu'))).toBe(0);
  });
});

describe('host memory', () => {
  it('keeps what was used last', () => {
    const memory = new HostMemory(20);
    expect([memory.use(1, 10), memory.use(2, 10), memory.use(1, 10), memory.use(3, 10)]).toEqual([
      false,
      false,
      true,
      false,
    ]);
    expect([memory.use(1, 10), memory.use(2, 10)]).toEqual([true, false]);
    expect(new HostMemory(0).use(1, 10)).toBe(false);
    expect(new HostMemory(Infinity).use(1, 10)).toBe(true);
  });
});

describe('predictions', () => {
  it('are right as often as they should be, and wrong ones are no choice of the token', () => {
    const tokens = 4000;
    const experts = Uint16Array.from({ length: 2 * tokens }, (_, copy) => (copy % 2) + 1);
    const batch = { tokens: { count: tokens, topK: 2, experts } } as unknown as LayerBatch;
    const prediction = new Prediction(8, 3, [0.96, 0.9]);
    prediction.take([batch], randomStream(1, 'predictions'));
    const right = [1, 2, 3].map((ahead) => {
      const guesses = prediction.of(0, ahead);
      for (const guess of guesses) expect(guess).toBeLessThan(8);
      const wrong = [...guesses].filter((guess, copy) => guess !== experts[copy]);
      for (const guess of wrong) expect([0, 3, 4, 5, 6, 7]).toContain(guess);
      return 1 - wrong.length / guesses.length;
    });
    // Two standard deviations of 8,000 draws are below 0.007.
    [0.96, 0.9, 0.9].forEach((accuracy, i) => expect(Math.abs(right[i] - accuracy)).toBeLessThan(0.01));
  });
});
