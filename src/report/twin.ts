import { policyLabel } from '../balancing/index.js';
import type { TwinCloseness } from '../inspection/index.js';
import type { Twin } from '../routing/index.js';
import type { Result } from '../simulation/index.js';
import { isAnchor } from './cells.js';
import { plainTable } from './plain-table.js';
import { formatSeconds } from './units.js';

/** What `epsim trace fit` prints and writes as JSON. */
export interface TwinReport {
  schema: 'epsim/twin-fit@1';
  twin: Omit<Twin, 'popularity' | 'profiles' | 'opening' | 'memory' | 'domains'> & {
    profiles: number;
    opening: number;
  };
  closeness: TwinCloseness;
  /** The same scenario under the recording and under its twin; null where none was run, and why. */
  steps: { recorded: Result; twin: Result } | null;
  whyNoSteps: string | null;
}

/** How close a twin is to its recording, as a person reads it. */
export function twinText({ twin, closeness, steps, whyNoSteps }: TwinReport): string {
  const { model, tokens, sequences, profiles, opening, run, layerIds, experts, topK, notes } = twin;
  const { heldOut, traits } = closeness;
  const rows = traits.map(
    ({ name, recorded, twin: value, spread, fitted, difference, otherWay, verdict }) => [
      name,
      recorded.toFixed(3),
      `${value.toFixed(3)} ± ${spread.toFixed(3)}`,
      ...(heldOut ? [fitted === null ? '–' : fitted.toFixed(3)] : []),
      differenceText(name, difference),
      ...(heldOut ? [otherWay === null ? '–' : differenceText(name, otherWay)] : []),
      verdict,
    ],
  );
  const judged = traits.filter(({ verdict }) => verdict !== 'not fitted');
  const apart = judged.filter(({ verdict }) => verdict === 'apart').length;
  const close = judged.filter(({ verdict }) => verdict === 'within 10 %').length;
  const byHalves = judged.filter(({ verdict }) => verdict === 'as the halves differ').length;
  return [
    `twin of ${model}: ${layerIds.length} layers × ${experts} experts, top ${topK}`,
    `fitted to ${tokens.toLocaleString('en')} tokens` +
      (sequences === 0 ? '' : ` of ${sequences} sequences`) +
      `; ${profiles} profiles in runs of ${run.toFixed(0)}, ${opening} positions at which sequences begin alike`,
    '',
    heldOut
      ? 'A twin of every other sequence, against the sequences that it has not seen:'
      : 'The twin against the recording that it was fitted to (too few sequences to keep some back):',
    plainTable(
      heldOut
        ? ['', 'unseen', 'twin ± draws', 'fitted to', 'difference', 'the other way', '']
        : ['', 'recorded', 'twin ± draws', 'difference', ''],
      rows,
    ),
    `${close} of ${judged.length} within 10 %${heldOut ? ` both ways, ${byHalves} more in their mean` : ''}` +
      `${apart === 0 ? ', none apart beyond chance' : `, ${apart} apart`}. γ and Gini: median over layers; ` +
      'batches: of 512 tokens (as far as there are eight) or one token of each live sequence; variation: standard deviation over mean of ' +
      "γ from batch to batch; ± : of single draws of the recording's size. " +
      (heldOut
        ? 'the other way: a twin of the unseen sequences against those that this one was fitted to. as the halves differ: the ' +
          'mean of both ways is within 10 %, so that the halves are apart and not the twin. '
        : '') +
      'as draws differ: recorded is as far from the mean as draws are (90 %). not fitted: how a layer says what follows in the next.',
    '',
    ...(steps === null ? [`step times: ${whyNoSteps}`] : [stepTable(steps)]),
    ...notes.map((note) => `* ${note}`),
  ].join('\n');
}

function differenceText(name: string, difference: number): string {
  const sign = difference >= 0 ? '+' : '−';
  const size = Math.abs(difference);
  return name.endsWith('autocorrelation')
    ? `${sign}${size.toFixed(2)}`
    : `${sign}${(100 * size).toFixed(1)} %`;
}

function stepTable({ recorded, twin }: { recorded: Result; twin: Result }): string {
  const { model, cluster, routing } = recorded;
  const rows = recorded.policies.flatMap((policy, i) => {
    if (isAnchor(policy)) return [];
    const [a, b] = [policy, twin.policies[i]].map(({ stepLatency }) => stepLatency.mean);
    const difference = b / a - 1;
    return [[policyLabel(policy.policy), formatSeconds(a), formatSeconds(b), differenceText('', difference)]];
  });
  return (
    `${model} shapes on ${cluster.gpus} × ${cluster.gpu}, ${routing.steps} steps of ${routing.tokensPerGpu} tokens per GPU, mean step:\n` +
    plainTable(['', 'recording', 'twin', 'difference'], rows)
  );
}
