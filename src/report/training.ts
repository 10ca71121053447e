import type { PolicyResult, Result, TrainingResult } from '../simulation/index.js';
import { nameCell } from './cells.js';
import { plainTable } from './plain-table.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

/** Words for the categories of the ledger, in the order in which a peak is told. */
const CATEGORIES: readonly [keyof PolicyResult['peakMemory']['byCategory'], string][] = [
  ['weights', 'weights'],
  ['replicas', 'replicas'],
  ['borrowedWeights', 'borrowed'],
  ['gradients', 'gradients'],
  ['optimizer', 'optimizer'],
  ['savedForBackward', 'saved'],
];

/** Mean seconds of a pass of a training step on the critical path. */
export function passSeconds({ critical }: TrainingResult, pass: keyof TrainingResult['critical']): number {
  return Object.values(critical[pass]).reduce((sum, seconds) => sum + seconds, 0);
}

/** Where the time of a training step goes and what travels; and what the fullest GPU holds at its peak. */
export function trainingTables({ policies, routing }: Result, columns?: number): string[] {
  const trained = policies.flatMap((p) => (p.training === null ? [] : [{ p, training: p.training }]));
  if (trained.length === 0) return [];
  const pipelined = trained.some(({ training }) => training.stages > 1);
  const perStep = (bytes: number) => (bytes === 0 ? '–' : formatBytes(bytes / routing.steps));
  const passes = plainTable(
    [
      '',
      'forward',
      'recompute',
      'backward',
      'update',
      ...(pipelined ? ['sends', 'idle'] : []),
      'exchanged forward',
      'backward',
      'gradients home',
      'reduced',
    ],
    trained.map(({ p, training }) => {
      const { forward, recompute, backward, gradients } = training.bytes;
      const seconds = (pass: keyof TrainingResult['critical']) => {
        const value = passSeconds(training, pass);
        return value === 0 ? '–' : formatSeconds(value);
      };
      return [
        `  ${nameCell(p)}`,
        seconds('forward'),
        seconds('recompute'),
        seconds('backward'),
        seconds('update'),
        ...(pipelined ? [seconds('pipeline'), formatShare(training.idle)] : []),
        perStep(forward.dispatch + forward.combine + recompute.dispatch + recompute.combine),
        perStep(backward.dispatch + backward.combine),
        perStep(gradients.borrowed + gradients.replicas),
        perStep(gradients.reduced),
      ];
    }),
    columns,
  );
  const memory = plainTable(
    ['', ...CATEGORIES.map(([, name]) => name), 'buffers'],
    trained.map(({ p }) => {
      const { max, byCategory } = p.peakMemory;
      const named = CATEGORIES.map(([category]) => byCategory[category] ?? 0);
      const rest = max - named.reduce((sum, bytes) => sum + bytes, 0);
      return [
        `  ${nameCell(p)}`,
        ...[...named, rest].map((bytes) => (bytes === 0 ? '–' : formatBytes(bytes))),
      ];
    }),
    columns,
  );
  return [
    '',
    `A training step: time on the critical path, and bytes on the links (forward: recomputed exchanges too)\n${passes}`,
    '',
    `The fullest GPU at its peak\n${memory}`,
  ];
}
