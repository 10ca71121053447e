import { TIME_SOURCES, type Machine, type Runtime, type TimeSource } from '../execution/index.js';
import { ASSUMED_RANGES, type Accuracy } from '../hardware/index.js';
import { combinedSpread, NO_SPREAD, scaledSpread, spreadOf, type Spread } from '../metrics/index.js';

/**
 * What stands behind a spread: rows that a fit has not seen; a guess; nothing at all (skewed traffic); or how
 * the steps themselves scatter.
 */
export type Basis = 'fitted' | 'assumed' | 'unvalidated' | 'sampled';

/** What of a policy's mean latency hangs on which numbers. */
export interface Exposure {
  /** Seconds of a layer's critical path, by source. */
  critical: Readonly<Record<TimeSource, number>>;
  /** How good the expert kernel is that the policy runs. */
  kernel: Accuracy | undefined;
  /** Mean over layers of the busiest port's copies over the mean. */
  portSkew: number;
}

/** One cause of uncertainty and what it does to a logarithm. */
export interface ErrorPart {
  source: TimeSource | 'skewed traffic' | 'sampling';
  basis: Basis;
  spread: Spread;
}

/** Kernel times of two policies that differ by less than this are of the same work. */
const SAME_WORK = 0.01;

/**
 * Errors of the clock to first order: a source whose seconds are the share s of the critical path moves the
 * latency by the s-th power of its own factor. In a ratio of two policies a factor that both share counts
 * by the difference of their shares; that unequal work errs unequally is what a kernel's `skewRange` says.
 */
export class ClockErrors {
  private readonly copies: { basis: Basis; spread: Spread };
  private readonly network: { basis: Basis; spread: Spread };
  private readonly host: { basis: Basis; spread: Spread };

  constructor({ cluster: { profile, gpus, gpusPerNode } }: Machine, { hostAccuracy }: Runtime) {
    const { accuracy } = gpus > gpusPerNode ? profile.nic : profile.nvlink;
    this.network =
      accuracy === undefined
        ? { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.link) }
        : { basis: 'fitted', spread: ownSpread(accuracy) };
    const { copyAccuracy } = profile;
    this.copies =
      copyAccuracy === undefined
        ? { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.copies) }
        : { basis: 'fitted', spread: ownSpread(copyAccuracy) };
    this.host = { basis: hostAccuracy.basis, spread: spreadOf(hostAccuracy.range) };
  }

  /** Parts of the error of a policy's mean latency. */
  ofLatency(exposure: Exposure): ErrorPart[] {
    const shares = sharesOf(exposure);
    const { basis, spread } = kernelError(exposure);
    return present([
      { source: 'experts', basis, spread: scaledSpread(spread, shares.experts) },
      ...this.commonParts((source) => shares[source]),
      {
        source: 'skewed traffic',
        basis: 'unvalidated',
        spread: scaledSpread(SKEWED_TRAFFIC, shares.network * unvalidated(exposure)),
      },
    ]);
  }

  /** Parts of the error of one policy's mean latency over another's. */
  ofRatio(a: Exposure, b: Exposure): ErrorPart[] {
    const [sharesA, sharesB] = [sharesOf(a), sharesOf(b)];
    const difference = (source: TimeSource) => sharesA[source] - sharesB[source];
    const { basis, spread } = kernelError(a);
    const skew = spreadOf(a.kernel?.skewRange ?? ASSUMED_RANGES.skew);
    const both = Math.min(sharesA.experts, sharesB.experts);
    return present([
      {
        source: 'experts',
        basis,
        spread: combinedSpread([
          scaledSpread(spread, difference('experts')),
          both > 0 ? scaledSpread(skew, both * unequal(a, b)) : NO_SPREAD,
        ]),
      },
      ...this.commonParts(difference),
      {
        source: 'skewed traffic',
        basis: 'unvalidated',
        spread: scaledSpread(
          SKEWED_TRAFFIC,
          sharesA.network * unvalidated(a) - sharesB.network * unvalidated(b),
        ),
      },
    ]);
  }

  /** Copies, network and host, to the power that `by` gives. */
  private commonParts(by: (source: TimeSource) => number): ErrorPart[] {
    return [
      { source: 'copies', ...this.copies, spread: scaledSpread(this.copies.spread, by('copies')) },
      { source: 'network', ...this.network, spread: scaledSpread(this.network.spread, by('network')) },
      { source: 'host', ...this.host, spread: scaledSpread(this.host.spread, by('host')) },
    ];
  }
}

const SKEWED_TRAFFIC = spreadOf(ASSUMED_RANGES.skewedTraffic);

function ownSpread({ sharedRange, rowRange }: Accuracy): Spread {
  return combinedSpread([spreadOf(sharedRange), spreadOf(rowRange)]);
}

function kernelError({ kernel }: Exposure): { basis: Basis; spread: Spread } {
  return kernel === undefined
    ? { basis: 'assumed', spread: spreadOf(ASSUMED_RANGES.expertStage) }
    : { basis: 'fitted', spread: ownSpread(kernel) };
}

/** From −1 to 1: positive where a's kernels take longer than b's, as those of the more skewed work do. */
function unequal(a: Exposure, b: Exposure): number {
  return Math.max(-1, Math.min(1, Math.log(a.critical.experts / b.critical.experts) / SAME_WORK));
}

/** Share of the exchanges' time that measurements of uniform traffic do not cover. */
function unvalidated({ portSkew }: Exposure): number {
  return Math.min(1, portSkew - 1);
}

function sharesOf({ critical }: Exposure): Record<TimeSource, number> {
  const total = TIME_SOURCES.reduce((sum, source) => sum + critical[source], 0);
  const share = (source: TimeSource) => (total > 0 ? critical[source] / total : 0);
  return {
    experts: share('experts'),
    copies: share('copies'),
    network: share('network'),
    host: share('host'),
  };
}

function present(parts: ErrorPart[]): ErrorPart[] {
  return parts.filter(({ spread: { below, above } }) => below > 0 || above > 0);
}
