import Table from 'cli-table3';
import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';
import {
  allLayersLines,
  gammaCell,
  intervalLines,
  isAnchor,
  latencyCell,
  lossCell,
  memoryCell,
  settingLines,
  speedupCell,
} from './cells.js';
import { verdict } from './verdict.js';
import { wholeModelLines } from './whole-model.js';

/** Several results side by side, then what a reader must know of each and what to do. */
export function comparison(results: readonly Result[]): string {
  return [
    comparisonTable(results),
    'cells: mean step and speed-up over ep, both with 90 % intervals; peak memory in use on the fullest GPU, with one MoE ' +
      `layer resident${results.some(isWhole) ? ' (scope model: all weights and the KV cache)' : ''}; γ GPU (max/mean ` +
      'copies), every copy at home → as planned; what an inexact policy loses.',
    ...results.map(remarks),
  ].join('\n');
}

function isWhole({ scenario }: Result): boolean {
  return scenario.scope === 'model';
}

function nameOf({ scenario }: Result, index: number): string {
  return scenario.name ?? `scenario ${index + 1}`;
}

/** A row per policy, a column per scenario. */
function comparisonTable(results: readonly Result[]): string {
  const labels = [
    ...new Set(results.flatMap(({ policies }) => policies.map(({ policy }) => policyLabel(policy)))),
  ];
  const head = ['policy', ...results.map(nameOf)];
  const grid = new Table({ head, style: { head: [], border: [] }, wordWrap: true });
  for (const label of labels) {
    const found = results.map(({ policies }) => policies.find(({ policy }) => policyLabel(policy) === label));
    const run = found.filter((p) => p !== undefined);
    const allAnchors = run.every(isAnchor);
    const marks = [...(run[0].exact ? [] : ['inexact']), ...(allAnchors ? ['anchor'] : [])];
    grid.push([
      marks.length === 0 ? label : `${label} (${marks.join(', ')})`,
      ...found.map((p) => (p ? cell(p, allAnchors) : '–')),
    ]);
  }
  return grid.toString();
}

function cell(p: PolicyResult, rowIsMarked: boolean): string {
  return [
    `${latencyCell(p)}  ${speedupCell(p)}${isAnchor(p) && !rowIsMarked ? ' (anchor)' : ''}`,
    memoryCell(p),
    `γ ${gammaCell(p)}`,
    ...(p.exact ? [] : [lossCell(p)]),
  ].join('\n');
}

function remarks(result: Result, index: number): string {
  return [
    '',
    nameOf(result, index),
    ...settingLines(result),
    ...intervalLines(result),
    ...wholeModelLines(result),
    ...allLayersLines(result),
    ...result.routing.notes.map((note) => `* ${note}`),
    `${nameOf(result, index)}: ${verdict(result)}`,
  ].join('\n');
}
