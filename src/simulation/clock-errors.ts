import {
  TIME_SOURCES,
  type Machine,
  type Runtime,
  type TimedKernel,
  type TimeSource,
} from '../execution/index.js';
import { ASSUMED_RANGES, type Accuracy } from '../hardware/index.js';
import {
  combinedSpread,
  effectSpread,
  scaledSpread,
  sharedErrorSpread,
  spreadOf,
  turnedSpread,
  type Spread,
} from '../metrics/index.js';

/**
 * What stands behind a spread: rows that a fit has not seen; a guess; nothing at all (skewed traffic); or how
 * the steps themselves scatter.
 */
export type Basis = 'fitted' | 'assumed' | 'unvalidated' | 'sampled';

/** Where an error of a latency comes from. */
export type ErrorSource = TimeSource | 'skewed traffic' | 'sampling';

/** What of a policy's mean latency hangs on which numbers. */
export interface Exposure {
  /** Seconds of a layer's critical path, by source. */
  critical: Readonly<Record<TimeSource, number>>;
  kernel: TimedKernel;
  /** Whether experts ran at a precision that no kernel was timed at. */
  quantised: boolean;
  /** Mean over layers of γ of the GPUs' copies after balancing. */
  skew: number;
  /** Mean over layers of the busiest port's copies over the mean. */
  portSkew: number;
  /** Mean bytes that a GPU sends in an exchange. */
  exchangeBytes: number;
}

/** One cause of uncertainty and what it does to a logarithm. */
export interface ErrorPart {
  source: ErrorSource;
  basis: Basis;
  spread: Spread;
}

type Known = Omit<ErrorPart, 'source'>;

/** γ, or kernel times, of two policies that differ by less than this are of the same work. */
const SAME_WORK = 0.01;
/** Links are fitted on exchanges from here on; below, time is latency, and chance. */
const FITTED_BYTES = 2 ** 20;

const LINK: Known = { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.link) };
const DENSE: Known = { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.dense) };
const COPIES: Known = { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.copies) };
const MOVEMENT: Known = { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.movement) };
const PLANNING: Known = { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.planning) };
const GRADIENTS: Known = { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.gradients) };
const SKEWED_TRAFFIC = spreadOf(ASSUMED_RANGES.skewedTraffic);

/**
 * Errors of the clock: a factor f on a source that takes the share s of the critical path makes the latency
 * s · f + 1 − s times as long, as long as the path stays the same. In a ratio of two policies a factor that both
 * share counts by the difference of what it does to each; that unequal work errs unequally is what a kernel's
 * `skewRange` says.
 */
export class ClockErrors {
  private readonly copies: Known;
  private readonly link: Known;
  private readonly host: Known;
  /** Bytes of an exchange from which on the error of its links is known. */
  private readonly fittedBytes: number;

  constructor(
    { cluster: { profile, gpus, gpusPerNode } }: Machine,
    { hostAccuracy, exchangeRange }: Pick<Runtime, 'hostAccuracy' | 'exchangeRange'>,
  ) {
    // Between nodes the NIC stands for all of an exchange: it is the slower link.
    this.link = exchangeRange
      ? { basis: 'fitted', spread: spreadOf(exchangeRange) }
      : (knownBy((gpus > gpusPerNode ? profile.nic : profile.nvlink).accuracy) ?? LINK);
    // Kernels of their own are fitted from one token on.
    this.fittedBytes = exchangeRange ? 0 : FITTED_BYTES;
    this.copies = knownBy(profile.copyAccuracy) ?? COPIES;
    this.host = { basis: hostAccuracy.basis, spread: spreadOf(hostAccuracy.range) };
  }

  /** Parts of the error of a policy's mean latency. */
  ofLatency(exposure: Exposure): ErrorPart[] {
    const shares = sharesOf(exposure);
    const part = (source: TimeSource, { basis, spread }: Known): ErrorPart => ({
      source,
      basis,
      spread: effectSpread(spread, shares[source]),
    });
    const parts: ErrorPart[] = [
      part('experts', kernelError(exposure)),
      part('copies', this.copies),
      part('network', this.linkError(exposure.exchangeBytes)),
      part('movement', MOVEMENT),
      part('planning', PLANNING),
      part('host', this.host),
      part('attention and dense', DENSE),
      part('gradients', GRADIENTS),
      {
        source: 'skewed traffic',
        basis: 'unvalidated',
        spread: effectSpread(skewedTraffic(exposure), shares.network),
      },
    ];
    return parts.filter(({ spread: { below, above } }) => below > 0 || above > 0);
  }

  /** Spreads that together make the error of one policy's mean latency over another's. */
  ofRatio(a: Exposure, b: Exposure): Spread[] {
    const [sharesA, sharesB] = [sharesOf(a), sharesOf(b)];
    const common = (source: TimeSource, { spread }: Known) =>
      sharedErrorSpread(spread, sharesA[source], spread, sharesB[source]);
    return [
      ...expertSpreads(a, sharesA, b, sharesB),
      common('copies', this.copies),
      common('network', this.linkError(Math.min(a.exchangeBytes, b.exchangeBytes))),
      common('movement', MOVEMENT),
      common('host', this.host),
      common('attention and dense', DENSE),
      common('gradients', GRADIENTS),
      sharedErrorSpread(skewedTraffic(a), sharesA.network, skewedTraffic(b), sharesB.network),
      common('planning', PLANNING),
    ];
  }

  private linkError(exchangeBytes: number): Known {
    return exchangeBytes >= this.fittedBytes ? this.link : LINK;
  }
}

function knownBy(accuracy: Accuracy | undefined): Known | undefined {
  if (accuracy === undefined) return undefined;
  const { sharedRange, rowRange } = accuracy;
  return { basis: 'fitted', spread: combinedSpread([spreadOf(sharedRange), spreadOf(rowRange)]) };
}

function kernelError({ kernel, quantised }: Exposure): Known {
  const known = knownBy(kernel.accuracy);
  if (known === undefined) return { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.expertStage) };
  return quantised ? { ...known, basis: 'assumed' } : known;
}

/** Of expert kernels in a ratio: two errors for two kernels, else what one does to both, and to unequal work. */
function expertSpreads(a: Exposure, sharesA: Shares, b: Exposure, sharesB: Shares): Spread[] {
  const [shareA, shareB] = [sharesA.experts, sharesB.experts];
  const [errorA, errorB] = [kernelError(a).spread, kernelError(b).spread];
  if (!isFittedTogether(a.kernel, b.kernel)) {
    return [effectSpread(errorA, shareA), turnedSpread(effectSpread(errorB, shareB))];
  }
  // What unequal work does to forward products it does to the backward ones, which are derived from them.
  const products = Math.min(shareA + sharesA.gradients, shareB + sharesB.gradients);
  return [sharedErrorSpread(errorA, shareA, errorB, shareB), unequalWork(a, b, products)];
}

/** One kernel, or two whose numbers come from the same measurements of both. */
function isFittedTogether(a: TimedKernel, b: TimedKernel): boolean {
  return a.stage === b.stage || (a.accuracy !== undefined && a.accuracy.how === b.accuracy?.how);
}

/**
 * How unequal work errs: the more skewed work lies on the side of the range that skewed rows lie on. Where γ and
 * the time of the kernels disagree on which that is, as in decode, either side is possible.
 */
function unequalWork(a: Exposure, b: Exposure, share: number): Spread {
  const { experts: timeA } = a.critical;
  const { experts: timeB } = b.critical;
  const byTime = timeA > 0 && timeB > 0 ? Math.log(timeA / timeB) : 0;
  const bySkew = Math.log(a.skew / b.skew);
  const unequal = Math.min(1, Math.max(Math.abs(byTime), Math.abs(bySkew)) / SAME_WORK);
  const range = spreadOf(a.kernel.accuracy?.skewRange ?? ASSUMED_RANGES.skew);
  const spread = effectSpread(scaledSpread(range, unequal), share);
  if (byTime * bySkew < 0) {
    const most = Math.max(spread.below, spread.above);
    return { below: most, above: most };
  }
  return byTime + bySkew >= 0 ? spread : turnedSpread(spread);
}

/** What measurements of uniform traffic leave open: the more, the more the busiest port carries. */
function skewedTraffic({ portSkew }: Exposure): Spread {
  return scaledSpread(SKEWED_TRAFFIC, Math.min(1, portSkew - 1));
}

type Shares = Readonly<Record<TimeSource, number>>;

function sharesOf({ critical }: Exposure): Shares {
  const total = TIME_SOURCES.reduce((sum, source) => sum + critical[source], 0);
  const share = (source: TimeSource) => (total > 0 ? critical[source] / total : 0);
  return Object.fromEntries(TIME_SOURCES.map((source) => [source, share(source)])) as Record<
    TimeSource,
    number
  >;
}
