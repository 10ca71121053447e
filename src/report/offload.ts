import type { OffloadResult, OffloadStrategyResult, Result } from '../simulation/index.js';
import { formatBytes, formatFactor, formatSeconds, formatShare } from './units.js';

/** Strategies of offloading as a table; nothing where all experts are in the GPUs' memory. */
export function offloadTables({ offload }: Result): { title: string; head: string[]; rows: string[][] }[] {
  if (offload === undefined) return [];
  return [
    {
      title: 'Offloading (experts that do not fit the GPUs)',
      head: [
        '',
        'tokens/s',
        'step',
        'vs first [90 %]',
        'loading',
        'hits high',
        'low',
        'miss penalty',
        'loaded',
        'prefetched (used)',
        'loss',
      ],
      rows: offload.strategies.map(row),
    },
  ];
}

function row(s: OffloadStrategyResult): string[] {
  const { low, high } = s.speedup;
  const interval =
    low === null || high === null || low === high ? '' : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`;
  const prefetched = s.prefetched.high + s.prefetched.low;
  const cachesLow = s.slots.low > 0;
  return [
    s.label,
    s.tokensPerSecond.toFixed(s.tokensPerSecond < 100 ? 2 : 0),
    formatSeconds(s.stepLatency.mean),
    `${formatFactor(s.speedup.mean)}${interval}`,
    formatShare(s.loadingShare),
    formatShare(s.hitRatio.high),
    cachesLow ? formatShare(s.hitRatio.low) : '–',
    s.missPenalty.toFixed(2),
    `${formatBytes(s.loadedBytes)}/step`,
    prefetched === 0 ? '–' : `${prefetched} (${formatShare(s.prefetched.useful / prefetched)})`,
    cachesLow ? `${formatShare(s.loss.low)} low, ${formatShare(s.loss.skipped)} skipped` : '–',
  ];
}

/** What the columns of the table mean, and what it rests on. */
export function offloadLines({ offload }: Result): string[] {
  if (offload === undefined) return [];
  const { expertBytes, cacheBytes, allExpertsBytes, hostLink, strategies } = offload;
  const mixed = strategies.find(({ slots }) => slots.low > 0);
  return [
    `offloading: ${formatBytes(allExpertsBytes)} of experts (${formatBytes(expertBytes.high)} each, ` +
      `${formatBytes(expertBytes.low)} in low precision), caches of ${formatBytes(cacheBytes)} per GPU, loads at ` +
      `${(hostLink.bytesPerSecond / 1e9).toFixed(1)} GB/s. The tables of policies: all experts in the GPUs' memory, whether ` +
      'they fit or not.',
    'loading: share of the GPUs’ time in which they wait for experts; miss penalty: loads of high precision per step that ' +
      'misses cost; loss: copies computed in low precision, and left out. Intervals hold the scatter of the steps alone.',
    ...(mixed === undefined ? [] : [classesLine(mixed)]),
    ...offload.notes.map((note) => `* ${note}`),
  ];
}

function classesLine({ classes, label }: OffloadStrategyResult): string {
  return (
    `Gate weights of "${label}" ask for high precision in ${formatShare(classes.high)} of the copies, for low in ` +
    `${formatShare(classes.low)}, for none in ${formatShare(classes.skip)}.`
  );
}

/** The fastest strategy, in a sentence. */
export function offloadVerdict({ strategies }: OffloadResult): string {
  const best = strategies.reduce((a, b) => (b.stepLatency.mean < a.stepLatency.mean ? b : a));
  const [first] = strategies;
  const against = best === first ? '' : `, ${formatFactor(best.speedup.mean)} the tokens of "${first.label}"`;
  return (
    `Fastest strategy: "${best.label}" with ${best.tokensPerSecond.toFixed(2)} tokens/s${against}; GPUs wait for experts ` +
    `${formatShare(best.loadingShare)} of the time` +
    (best.loss.low + best.loss.skipped > 0
      ? `, and ${formatShare(best.loss.low + best.loss.skipped)} of the copies lose precision.`
      : '.')
  );
}
