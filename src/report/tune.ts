import Table from 'cli-table3';
import type { Interval } from '../metrics/index.js';
import type { TuneResult } from '../sweep/index.js';
import { formatScore, frontDrawing } from './tune-front.js';
import { formatFactor, formatShare } from './units.js';

/** The front as a table, how sure and how flat the optimum is, the break-even batch, and the sentence to act on. */
export function tuneText(found: TuneResult): string {
  return [
    roundsLine(found),
    '',
    frontTable(found),
    '',
    ...frontDrawing(found),
    ...flatLines(found),
    ...sureLines(found),
    ...batchLines(found),
    ...(found.failed === null
      ? []
      : [`${found.failed.count} settings can't run here. The first: ${found.failed.error}`]),
    '',
    sentence(found),
  ].join('\n');
}

function roundsLine({ policy, tried, rounds }: TuneResult): string {
  const parts = rounds.map(
    ({ settings, steps, seeds }) =>
      `${settings} on ${steps === null ? 'all' : steps} steps × ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}`,
  );
  return `${policy}: ${tried} settings; ${parts.join(', then ')}`;
}

function frontTable({ minimise, finalists }: TuneResult): string {
  const options = Object.keys(finalists[0].setting);
  const grid = new Table({
    head: ['#', '', ...options, ...minimise, 'vs ep [90 % over seeds]', ''],
    style: { head: [], border: [] },
  });
  for (const [i, { setting, scores, speedup, onFront, refused }] of finalists.entries()) {
    grid.push([
      i + 1,
      onFront ? 'front' : '',
      ...options.map((option) => String(setting[option])),
      ...scores.map(({ mean }, i) => formatScore(minimise[i], mean)),
      formatRatio(speedup),
      refused ?? '',
    ]);
  }
  return grid.toString();
}

function formatRatio({ mean, low, high }: Interval): string {
  if (low === null || high === null) return formatFactor(mean);
  return `${formatFactor(mean)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

function flatLines({ flat, minimise }: TuneResult): string[] {
  const values = Object.entries(flat).map(([option, near]) => `${option} ${near.map(String).join(', ')}`);
  return [
    `Within 2 % of the best ${minimise[0]} in the first round, each with some value of the others: ${values.join('; ')}.`,
  ];
}

function sureLines({ recommended, minimise, seedsMatter, heldOut }: TuneResult): string[] {
  if (recommended === null) return [];
  const { overDefaults, overNext, seeds, gatedShare } = recommended;
  const next = overNext === null ? '' : `, ${formatRatio(overNext)} as good as the next best setting`;
  return [
    `On ${seeds} fresh seeds${heldOut ? ' and the second half of the recording, of which the search has seen the first' : ''} (${minimise[0]}): ${formatRatio(overDefaults)} as good as the policy's defaults${next}.`,
    ...(gatedShare > 0 ? [`Its gate leaves ${formatShare(gatedShare)} of the layers to plain EP.`] : []),
    ...(seedsMatter
      ? []
      : ['The seeds changed nothing: this routing draws nothing, so that intervals have no width.']),
  ];
}

/** Between which batches the policy starts to beat plain EP. */
function batchLines({ batches, policy }: TuneResult): string[] {
  if (batches.length === 0) return [];
  const tokens = (index: number) => batches[index].tokensPerGpu.toLocaleString('en');
  const wins = batches.map(({ speedup }) => (speedup.low ?? speedup.mean) > 1);
  const from = wins.lastIndexOf(false) + 1;
  if (from === batches.length)
    return [
      `Up to ${tokens(from - 1)} tokens per GPU, the most that was tried, ${policy} does not surely beat ep.`,
    ];
  if (from === 0)
    return [`${policy} beats ep from ${tokens(0)} tokens per GPU on, the fewest that were tried.`];
  const lost = batches.map(({ speedup }) => (speedup.high ?? speedup.mean) < 1).lastIndexOf(true);
  const below = lost < 0 ? '' : ` ep wins up to ${tokens(lost)};`;
  return [
    `Break-even batch with this setting:${below} ${policy} wins from ${tokens(from)} tokens per GPU on.`,
  ];
}

function sentence({ recommended, policy, finalists }: TuneResult): string {
  if (recommended === null) {
    const [{ refused }] = finalists;
    return `Stay with ep here: no setting of ${policy} may be recommended; the best one ${refused}.`;
  }
  const { setting, speedup, seeds } = recommended;
  const options = Object.entries(setting).map(([option, value]) => `${option} ${String(value)}`);
  if (recommended.gatedShare === 1) {
    return `Stay with ep here: with the best setting (${options.join(', ')}) the gate of ${policy} leaves every layer to plain EP.`;
  }
  const ratio = `${formatRatio(speedup)} as fast as ep on ${seeds} fresh seeds`;
  if ((speedup.low ?? speedup.mean) > 1) return `Use ${policy} with ${options.join(', ')}: ${ratio}.`;
  return `Stay with ep here: the best setting of ${policy} (${options.join(', ')}) is ${ratio}.`;
}
