import type { Advice, Advised } from '../advice/index.js';
import { plainTable } from './plain-table.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

/** Every question with its answer, the numbers behind it and the commands that repeat them; what can't be answered last. */
export function adviceText({ scenario, heldOut, questions }: Advice): string {
  const answered = questions.filter(({ answer }) => answer !== null);
  const open = questions.filter(({ answer }) => answer === null);
  const common = commonNotes(answered);
  return [
    scenario.name ?? 'unnamed scenario',
    `Held out: ${heldOut}.`,
    ...answered.flatMap((question) => ['', ...answerLines(question, common)]),
    ...(open.length > 0 ? ['', 'Can’t be answered'] : []),
    ...open.map(({ asks, because }) => `  ${asks} Because ${because}.`),
    '',
    'Factors are over standard EP, with 90 % intervals; times are of what the scenario simulates.',
    ...[...common].map((note) => `* ${note}`),
  ].join('\n');
}

/** Notes on all answers, which are said once. */
function commonNotes(answered: readonly Advised[]): Set<string> {
  const [first, ...others] = answered.map(({ notes }) => notes);
  return new Set((first ?? []).filter((note) => others.every((notes) => notes.includes(note))));
}

function answerLines({ asks, answer, notes }: Advised, common: ReadonlySet<string>): string[] {
  const { sentence, rows, commands } = answer!;
  const columns = Object.keys(rows[0]);
  return [
    asks,
    `  ${sentence}`,
    plainTable(
      [`  ${columns[0]}`, ...columns.slice(1).map(headOf)],
      rows.map((row) => columns.map((column, i) => `${i === 0 ? '  ' : ''}${cell(column, row[column])}`)),
    ),
    ...notes.filter((note) => !common.has(note)).map((note) => `  * ${note}`),
    ...commands.map((command) => `  $ ${command}`),
  ];
}

const HEADS: Readonly<Record<string, string>> = {
  stepSeconds: 'step',
  speedup: 'vs ep',
  gamma: 'γ GPU',
  shareOfCeiling: 'of the ceiling',
  redundantPerGpu: 'redundant per GPU',
  replicaBytesPerGpu: 'redundant weights per GPU',
  moreBufferBytesPerGpu: 'more buffers per GPU',
  bytesPerGpu: 'memory per GPU',
  kvTokensPerGpu: 'KV tokens per GPU',
  tailSeconds: 'its step',
  stallSecondsPerStep: 'stall per step',
  tokensPerSecondPerGpu: 'tokens/s per GPU',
  weightBytesPerGpu: 'expert weights per GPU',
  activeExperts: 'active experts of a GPU',
  plannedOn: 'planned on',
  attentionAndDense: 'attention and dense',
  routingAndCopying: 'routing and copying',
  newPlacements: 'new placements',
};

const SHARES: ReadonlySet<string> = new Set([
  'shareOfCeiling',
  'experts',
  'attentionAndDense',
  'exchanges',
  'routingAndCopying',
  'host',
  'newPlacements',
  'waiting',
]);

function headOf(column: string): string {
  return HEADS[column] ?? column;
}

function cell(column: string, value: string | number | null): string {
  if (value === null) return '–';
  if (typeof value === 'string') return value;
  if (/^(speedup|low|high|gamma|activeExperts)$/.test(column)) return value.toFixed(2);
  if (/seconds(PerStep)?$/i.test(column)) return formatSeconds(value);
  if (/bytes/i.test(column)) return formatBytes(value);
  if (SHARES.has(column)) return formatShare(value);
  if (Number.isInteger(value)) return value.toLocaleString('en');
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
}
