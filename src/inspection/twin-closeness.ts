import { fitTwin, selectSequences, twinTrace, type TokenTrace, type Trace } from '../routing/index.js';
import { batchSkews, liveSequences, type BatchLimits, type BatchSkew } from './batches.js';
import { domainEffect } from './change.js';
import { loadStatistics } from '../metrics/index.js';
import { groupLoads, meanOf, medianOf } from './load-statistics.js';
import { observe } from './observe.js';

/** One statistic of a recording beside that of its twin. */
export interface TwinTrait {
  name: string;
  /** What the twin is held against: sequences that it was not fitted to, or the whole where there are too few. */
  recorded: number;
  /** Mean over draws of the twin of the same size, and their standard deviation. */
  twin: number;
  spread: number;
  /** Of the sequences that the twin was fitted to; null where it was fitted to all. */
  fitted: number | null;
  /** Twin over recorded − 1; of an autocorrelation, the difference. */
  difference: number;
  /** The same of a twin of the sequences held back, against those that this one was fitted to; null without halves. */
  otherWay: number | null;
  /**
   * `within 10 %`: both ways; `as the halves differ`: the mean of both ways is, where it does not matter which half is
   * which; `as draws differ`: two samples of the twin's own law differ as much in one case out of ten.
   */
  verdict: 'within 10 %' | 'as the halves differ' | 'as draws differ' | 'apart' | 'not fitted';
}

/** How close a twin is to its recording. */
export interface TwinCloseness {
  /** Whether the twin was fitted to every other sequence and held against the rest. */
  heldOut: boolean;
  traits: TwinTrait[];
}

/** Relative difference (of an autocorrelation: absolute) that counts as close. */
const CLOSE = 0.1;
/** Draws of a twin, whose mean is compared. */
const DRAWS = 6;
/** Standard deviations that nine of ten draws lie within: Student's t of DRAWS − 1 degrees of freedom. */
const REACH = 2.015;
/** Sequences below which there are no halves to compare. */
const FEWEST_SEQUENCES = 8;
/** Tokens of an in-order or shuffled batch, as far as there are eight of them. */
const BATCH = 512;

interface Trait {
  name: string;
  value: number;
  isAbsolute?: true;
  isNotFitted?: true;
}

/**
 * Fits a twin to every other sequence and compares it with the others, and the other way round; of a recording without
 * enough sequences, the twin of all with all.
 * @param ep EP sizes, each a divisor of the experts
 */
export function twinCloseness(trace: Trace, ep: readonly number[]): TwinCloseness {
  const units = [trace.header.experts, ...ep.filter((size) => size < trace.header.experts)];
  const halves = halvesOf(trace);
  if (halves === null) return { heldOut: false, traits: compared(trace, trace, units).map(judged) };
  const [one, other] = halves;
  const otherWay = compared(other, one, units);
  const traits = compared(one, other, units).map((trait) => {
    const back = otherWay.find(({ name }) => name === trait.name);
    return judged({ ...trait, otherWay: back?.difference ?? null });
  });
  return { heldOut: true, traits };
}

/** What a twin and a recording have in common, before it is judged. */
type Compared = Omit<TwinTrait, 'verdict'> & Pick<Trait, 'isNotFitted'>;

/** A twin of some sequences against others, or against the same. */
function compared(fittedTo: Trace, against: Trace, units: readonly number[]): Compared[] {
  const twin = fitTwin(fittedTo);
  const sequences = sequencesOf(against);
  const recordedTokens = observe(against).tokens;
  const batchTokens = Math.min(BATCH, 2 ** Math.floor(Math.log2(Math.max(1, recordedTokens / 8))));
  const live = liveSequences(sequences);
  const recorded = traitsOf(against, units, batchTokens, { live, batches: {} });
  const own = fittedTo === against ? null : traitsOf(fittedTo, units, batchTokens, { live, batches: {} });
  const limits: BatchLimits = { live, batches: recorded.batches };
  const draws = Array.from({ length: DRAWS }, (_, draw) => {
    const drawn = twinTrace(twin, {
      layers: twin.layerIds.map((_, layer) => layer),
      tokens: recordedTokens,
      // Decodes of the same length need sequences to follow those that end early.
      sequences: 2 * sequences,
      seed: `closeness/${draw}`,
    });
    return traitsOf(drawn, units, batchTokens, limits, recordedTokens).traits;
  });
  return recorded.traits.flatMap((trait) => {
    const values = draws.map((all) => all.find(({ name }) => name === trait.name)?.value);
    if (values.some((value) => value === undefined)) return [];
    return compare(
      trait,
      values as number[],
      own?.traits.find(({ name }) => name === trait.name)?.value ?? null,
    );
  });
}

function compare(
  { name, value, isAbsolute, isNotFitted }: Trait,
  draws: readonly number[],
  fitted: number | null,
): Compared {
  const twin = meanOf(draws);
  const difference = isAbsolute ? twin - value : twin / value - 1;
  const spread = Math.sqrt(draws.reduce((sum, draw) => sum + (draw - twin) ** 2, 0) / (draws.length - 1));
  return { name, recorded: value, twin, spread, fitted, difference, otherWay: null, isNotFitted };
}

function judged({ isNotFitted, ...trait }: Compared): TwinTrait {
  return { ...trait, verdict: isNotFitted ? 'not fitted' : verdictOf(trait) };
}

function verdictOf({
  recorded,
  twin,
  spread,
  fitted,
  difference,
  otherWay,
}: Omit<TwinTrait, 'verdict'>): TwinTrait['verdict'] {
  const ways = otherWay === null ? [difference] : [difference, otherWay];
  if (ways.every((way) => Math.abs(way) <= CLOSE)) return 'within 10 %';
  if (Math.abs(meanOf(ways)) <= CLOSE) return 'as the halves differ';
  // What is unseen is one sample, what was fitted to is another.
  const samples = fitted === null ? 1 : 2;
  const reach = REACH * spread * Math.sqrt(samples + 1 / DRAWS);
  return Math.abs(twin - recorded) <= reach ? 'as draws differ' : 'apart';
}

function sequencesOf(trace: Trace): number {
  return trace.kind === 'tokens' && trace.sequenceStarts ? trace.sequenceStarts.length - 1 : 0;
}

/** Every other sequence, and the rest; null where there are too few. */
function halvesOf(trace: Trace): [TokenTrace, TokenTrace] | null {
  if (trace.kind === 'counts' || sequencesOf(trace) < FEWEST_SEQUENCES) return null;
  const [even, odd] = [0, 1].map((rest) => selectSequences(trace, (sequence) => sequence % 2 === rest));
  return even && odd && [even, odd];
}

/** @param tokens of a trace of more: only so many are looked at for what depends on the number of tokens */
function traitsOf(
  trace: Trace,
  units: readonly number[],
  batchTokens: number,
  limits: BatchLimits,
  tokens?: number,
): { traits: Trait[]; batches: BatchLimits['batches'] } {
  const whole = tokens === undefined ? trace : upTo(trace, tokens);
  const observed = observe(whole);
  const { total, layers, experts, reuse, affinity } = observed;
  const medianBy = (measure: (at: number) => number) =>
    medianOf(Array.from({ length: layers }, (_, layer) => measure(layer * experts)));
  const traits: Trait[] = units.map((count, u) => ({
    name: `γ ${u === 0 ? 'expert' : `EP ${count}`}`,
    value: medianBy((at) => loadStatistics(groupLoads(total, count, at, experts)).maxOverMean),
  }));
  traits.push({
    name: 'Gini expert',
    value: medianBy((at) => loadStatistics(groupLoads(total, experts, at, experts)).gini),
  });
  const batches: BatchLimits['batches'] = {};
  for (const skew of batchSkews(trace, units, batchTokens, limits)) {
    batches[skew.batching] = skew.batches;
    traits.push(...batchTraits(skew, units));
  }
  if (reuse !== null) traits.push({ name: 'adjacent tokens', value: reuse });
  const domains = domainEffect(observed, units);
  if (domains !== null) traits.push({ name: 'domain effect', value: domains.distance });
  if (affinity !== null) traits.push({ name: 'layer to layer', value: affinity.distance, isNotFitted: true });
  return { traits, batches };
}

function batchTraits(skew: BatchSkew, units: readonly number[]): Trait[] {
  const { batching, levels, variation, autocorrelation, batches } = skew;
  const traits: Trait[] = levels.map(({ median }, u) => ({
    name: `${batching}: γ ${u === 0 ? 'expert' : `EP ${units[u]}`}`,
    value: median,
  }));
  if (batches > 1) traits.push({ name: `${batching}: variation`, value: variation });
  if (autocorrelation !== null)
    traits.push({ name: `${batching}: autocorrelation`, value: autocorrelation, isAbsolute: true });
  return traits;
}

/** The first sequences that make so many tokens. */
function upTo(trace: Trace, tokens: number): Trace {
  if (trace.kind === 'counts' || trace.sequenceStarts === null) return trace;
  const { sequenceStarts: starts } = trace;
  const after = starts.findIndex((start) => start >= tokens);
  return selectSequences(trace, (sequence) => after < 0 || sequence < after)!;
}
