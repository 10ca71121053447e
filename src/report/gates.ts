import Table from 'cli-table3';
import { isMet, type Gate } from '../calibration/index.js';

/** The gates of a validation, a line each: the error found, the error allowed, and whether it is met. */
export function gateTable(gates: readonly Gate[]): string {
  const table = new Table({
    head: ['suite', 'gate', 'points', 'error', 'allowed', 'basis', 'verdict'],
    style: { head: [], border: [], compact: true },
  });
  for (const gate of gates) {
    const { suite, name, points, measure, error, allowed, unit, basis } = gate;
    const verdict = allowed === null ? 'reported' : isMet(gate) ? 'met' : 'NOT MET';
    const shown = (value: number) => (unit === 'wrong' ? String(value) : `${value.toFixed(2)} ${unit}`);
    table.push([
      suite,
      name,
      points,
      `${measure} ${shown(error)}`,
      allowed === null ? '–' : `≤ ${shown(allowed)}`,
      basis,
      verdict,
    ]);
  }
  return table.toString();
}
