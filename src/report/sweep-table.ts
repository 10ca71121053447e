import type { Result } from '../simulation/index.js';
import type { SweptPlace } from '../sweep/index.js';
import { resultColumns, resultRow, type Cell, type ColumnType } from './rows.js';

/** What a sweep keeps of one point: a row per policy, or the error that it failed with. */
export interface PointRecord {
  /** Hash of what the point depends on: its name. */
  hash: string;
  /** The result's own hash of its inputs; null where the point failed. */
  inputs: string | null;
  /** The scenario as it was run, or as it would have been. */
  scenario: unknown;
  /** By policy: its options, and its row of `resultColumns`. */
  policies: { options: { kind: string }; row: Cell[] }[];
  error: string | null;
}

/** The record of a point that ran. */
export function pointRecord(hash: string, result: Result): PointRecord {
  return {
    hash,
    inputs: result.inputs,
    scenario: result.scenario,
    policies: result.policies.map((policy) => ({ options: policy.policy, row: resultRow(result, policy) })),
    error: null,
  };
}

/** The columns of a sweep's table: the point, what was swept, the policy, its result, all inputs, the error. */
export function sweepColumns(places: readonly SweptPlace[]): { name: string; type: ColumnType }[] {
  return [
    { name: 'point', type: 'number' },
    ...places.map(({ column, type }) => ({ name: column, type: type === 'json' ? ('text' as const) : type })),
    { name: 'policy_kind', type: 'text' },
    { name: 'policy_index', type: 'number' },
    ...resultColumns,
    { name: 'policy_json', type: 'text' },
    { name: 'scenario_json', type: 'text' },
    { name: 'inputs', type: 'text' },
    { name: 'error', type: 'text' },
  ];
}

/**
 * The rows of a point in the order of `sweepColumns`; one row without a policy where it failed.
 * @param point its number; its record has none, since equal points of a sweep share one
 * @param values of the swept places
 */
export function sweepRows(
  point: number,
  { inputs, scenario, policies, error }: PointRecord,
  places: readonly SweptPlace[],
  values: readonly unknown[],
): Cell[][] {
  const swept = places.map(({ type }, i) =>
    type === 'json' ? JSON.stringify(values[i]) : (values[i] as Cell),
  );
  const text = JSON.stringify(scenario);
  if (policies.length === 0) {
    const nothing = resultColumns.map(() => null);
    return [[point, ...swept, null, null, ...nothing, null, text, inputs, error]];
  }
  return policies.map(({ options, row }, index) => [
    point,
    ...swept,
    options.kind,
    index,
    ...row,
    JSON.stringify(options),
    text,
    inputs,
    error,
  ]);
}
