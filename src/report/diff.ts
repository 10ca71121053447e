import Table from 'cli-table3';
import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import { formatBytes, formatFactor, formatSeconds } from './units.js';

/** What changed between two results: inputs first, then every policy that both hold. */
export function diffResults(before: Result, after: Result): string {
  const settings = changedSettings(before.scenario, after.scenario);
  const grid = new Table({
    head: ['policy', 'step before', 'after', 'ratio', 'peak before', 'after', 'speed-up before', 'after'],
    style: { head: [], border: [] },
  });
  const find = (result: Result, label: string) =>
    result.policies.find(({ policy }) => policyLabel(policy) === label);
  const labels = (result: Result) => result.policies.map(({ policy }) => policyLabel(policy));
  for (const label of labels(before)) {
    const [a, b] = [find(before, label)!, find(after, label)];
    if (b) grid.push(row(label, a, b));
  }
  const only = (name: string, from: Result, other: Result) => {
    const missing = labels(from).filter((label) => !labels(other).includes(label));
    return missing.length > 0 ? [`Only in ${name}: ${missing.join(', ')}`] : [];
  };
  return [
    before.inputs === after.inputs ? 'Same inputs.' : 'Different inputs.',
    ...(before.version === after.version ? [] : [`Version: ${before.version} → ${after.version}`]),
    ...(before.profile.name === after.profile.name
      ? []
      : [`Profile: ${before.profile.name} → ${after.profile.name}`]),
    ...settings,
    grid.toString(),
    ...only('before', before, after),
    ...only('after', after, before),
  ].join('\n');
}

function row(label: string, a: PolicyResult, b: PolicyResult): string[] {
  return [
    label,
    formatSeconds(a.stepLatency.mean),
    formatSeconds(b.stepLatency.mean),
    formatFactor(b.stepLatency.mean / a.stepLatency.mean),
    formatBytes(a.peakMemory.max),
    formatBytes(b.peakMemory.max),
    formatFactor(a.speedup.mean),
    formatFactor(b.speedup.mean),
  ];
}

/** Paths of a scenario whose values differ. */
function changedSettings(before: unknown, after: unknown, path = ''): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null;
  if (!isObject(before) || !isObject(after))
    return [`${path}: ${JSON.stringify(before)} → ${JSON.stringify(after)}`];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
    changedSettings(before[key], after[key], path === '' ? key : `${path}.${key}`),
  );
}
