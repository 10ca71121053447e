import type { Balance } from '../metrics/index.js';
import type { BalanceReport, PolicyBalance } from '../simulation/index.js';
import { plainTable } from './plain-table.js';
import { formatShare } from './units.js';

/** Every definition of balance beside the others, before and after every policy, and how each is computed. */
export function balanceText(report: BalanceReport): string {
  const { before, policies, window } = report;
  const over = window === null ? 'all steps' : `windows of ${window} ${window === 1 ? 'step' : 'steps'}`;
  return [
    `Balance of GPUs, x = copies per GPU: mean of the steps / of loads summed over ${over}`,
    unitTable(report, before.gpu, (policy) => policy.gpu),
    '',
    `Balance of experts, x = copies per expert (at home) or per instance of one: mean of the steps / summed over ${over}`,
    unitTable(report, before.expert, (policy) => policy.instance),
    '',
    'Beside loads',
    besideTable(before.fanOut, policies),
    '',
    'at home: every copy at its expert’s home, contiguous experts; what a recorder counts under standard EP.',
    'Instances change with placements, so that their loads are not summed over steps.',
    ...report.metrics.map(
      ({ name, formula, even, usedBy }) =>
        `${name}: ${formula}; ${even} is even.${usedBy === null ? '' : ` Used by ${usedBy}.`}`,
    ),
    'imbalance ratio, deviation: of it over all layers of all steps, as TensorRT-LLM prints it beside the mean.',
    'Loads are copies of the scenario’s tokens; engines that count padding or dummy tokens show other numbers.',
  ].join('\n');
}

function unitTable(
  { metrics, policies }: BalanceReport,
  before: Balance,
  after: (policy: PolicyBalance) => Balance,
): string {
  const columns = [before, ...policies.map(after)];
  return plainTable(
    ['', 'at home', ...policies.map(({ policy }) => policy)],
    [
      ...metrics.map(({ key, name }) => [
        `  ${name}`,
        ...columns.map(({ steps, windows }) =>
          [steps, ...(windows === null ? [] : [windows])].map((values) => values[key].toFixed(3)).join(' / '),
        ),
      ]),
      [
        '  imbalance ratio, deviation',
        ...columns.map(({ imbalanceRatioDeviation }) => imbalanceRatioDeviation.toFixed(3)),
      ],
    ],
  );
}

function besideTable(before: PolicyBalance['fanOut'], policies: readonly PolicyBalance[]): string {
  const perToken = (fanOut: PolicyBalance['fanOut'], of: 'gpus' | 'nodes') =>
    fanOut === null ? '–' : fanOut[of].toFixed(2);
  const rows: [string, string, (policy: PolicyBalance) => string][] = [
    [
      'experts with copies per GPU, mean to largest',
      '',
      ({ activeInstances: { mean, largest } }) => `${mean.toFixed(1)} to ${largest.toFixed(1)}`,
    ],
    ['rows that are padding of tiles', '', ({ paddingShare }) => formatShare(paddingShare)],
    ['copies that leave their GPU', '', ({ awayShare }) => formatShare(awayShare)],
    ['copies that leave their node', '', ({ otherNodeShare }) => formatShare(otherNodeShare)],
    [
      'GPUs per token (TensorRT-LLM "send ranks per token")',
      perToken(before, 'gpus'),
      ({ fanOut }) => perToken(fanOut, 'gpus'),
    ],
    ['nodes per token', perToken(before, 'nodes'), ({ fanOut }) => perToken(fanOut, 'nodes')],
  ];
  return plainTable(
    ['', 'at home', ...policies.map(({ policy }) => policy)],
    rows.map(([name, home, of]) => [`  ${name}`, home, ...policies.map(of)]),
  );
}
