import type { Comparison } from '../inspection/index.js';
import { plainTable } from './plain-table.js';
import { formatShare } from './units.js';

/** Whether a placement made for one trace would serve another, as a person reads it. */
export function traceComparisonText(
  { correlation, distance, fits, layers }: Comparison,
  a: string,
  b: string,
): string {
  const rows = fits.map(({ gpus, contiguous, planned, hindsight, heldOut, kept, verdict }) => [
    `EP ${gpus}`,
    contiguous.toFixed(3),
    planned.low === null
      ? planned.value.toFixed(3)
      : `${planned.value.toFixed(3)} [${planned.low.toFixed(2)}, ${planned.high!.toFixed(2)}]`,
    heldOut === null ? '–' : heldOut.toFixed(3),
    hindsight.toFixed(3),
    kept === null ? '–' : formatShare(kept),
    verdict,
  ]);
  return [
    `a: ${a}`,
    `b: ${b}`,
    `${layers} layers; loads correlate by ${correlation.toFixed(3)} (median over layers), ${formatShare(distance)} of the load goes to other experts`,
    '',
    plainTable(
      ['γ of b', 'contiguous', "a's placement", "b's halves", "b's own", 'kept', 'a placement made for a …'],
      rows,
    ),
    "γ: max/mean copies per GPU of all of b, median over layers [90 % over sequences drawn anew]; a's placement: experts " +
      "packed by a's loads, one instance each; b's halves: each half of b under the placement made for the other; b's own: " +
      "made for b itself, in hindsight; kept: share of the gain of b's halves (else of b's own) over contiguous experts",
  ].join('\n');
}
