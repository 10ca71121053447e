import { TraceError, phases, type Phase, type TraceHeader } from '../../trace/trace.js';
import { CountSteps } from '../count-steps.js';
import type { ImportJob } from '../format.js';
import { MOST_EXPERTS } from '../limits.js';

/** Rows of a table in turn; a row is good until the next one. */
export interface Table {
  columns: readonly string[];
  /** @param wanted columns, whose values come in this order; texts only in `TEXT_COLUMNS` */
  rows(wanted: readonly string[]): AsyncIterable<{ place: string; values: readonly (number | string)[] }>;
}

/** Columns whose values are taken as they stand. */
export const TEXT_COLUMNS: readonly string[] = ['phase', 'domain', 'padding'];

const TOKEN_COLUMNS = ['token', 'layer', 'expert_0'];
/** Domains: their numbers take 16 bits. */
const MOST_DOMAINS = 65_536;
const COUNT_COLUMNS = ['layer', 'expert', 'copies'];

/**
 * Reads a table with the columns of the native format (docs/traces.md), without its header: token by token, or
 * copies by layer and expert.
 */
export async function readTable(job: ImportJob, table: Table): Promise<TraceHeader> {
  const has = (name: string) => table.columns.includes(name);
  if (TOKEN_COLUMNS.every(has)) return readTokens(job, table);
  if (COUNT_COLUMNS.every(has)) return readCounts(job, table);
  throw new TraceError(
    'columns',
    table.columns.slice(0, 20).join(', ') || 'none',
    `${TOKEN_COLUMNS.join(', ')} …, or ${COUNT_COLUMNS.join(', ')} (and more, as docs/traces.md says)`,
  );
}

/** A whole number of a row. @throws TraceError */
function whole(place: string, column: string, value: number | string, limit: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < limit) return value;
  throw new TraceError(`${place}, column ${column}`, String(value).slice(0, 80), `0 to ${limit - 1}`);
}

function phaseOf(place: string, value: number | string): Phase {
  if (phases.includes(value as Phase)) return value as Phase;
  throw new TraceError(`${place}, column phase`, String(value).slice(0, 80), phases.join(', '));
}

/** A truth value as tables write it. */
function flagOf(place: string, column: string, value: number | string | boolean): boolean {
  const text = String(value).toLowerCase();
  if (['1', 'true'].includes(text)) return true;
  if (['0', 'false'].includes(text)) return false;
  throw new TraceError(`${place}, column ${column}`, text.slice(0, 80), 'true, false, 1 or 0');
}

/** The first token's layers are every token's. */
interface Layout {
  layers: number[];
  index: Map<number, number>;
}

async function readTokens(job: ImportJob, table: Table): Promise<TraceHeader> {
  const numbered = (prefix: string) =>
    table.columns
      .filter((name) => new RegExp(`^${prefix}_\\d+$`).test(name))
      .sort((a, b) => Number(a.slice(prefix.length + 1)) - Number(b.slice(prefix.length + 1)));
  const experts = numbered('expert');
  const weights = numbered('weight');
  if (weights.length > 0 && weights.length !== experts.length) {
    throw new TraceError(
      'columns',
      `${weights.length} of gate weights, ${experts.length} of experts`,
      'as many',
    );
  }
  const limit = job.options.experts ?? MOST_EXPERTS;
  const topK = job.topK(experts.length, limit);
  const names = ['sequence', 'domain', 'phase', 'step', 'source_gpu', 'padding'] as const;
  const wanted = [
    'token',
    'layer',
    ...experts,
    ...weights,
    ...names.filter((name) => table.columns.includes(name)),
  ];
  const [sequenceAt, domainAt, phaseAt, stepAt, sourceAt, paddingAt] = names.map((name) =>
    wanted.indexOf(name),
  );
  const hasBatches = stepAt >= 0 && sourceAt >= 0;
  if (!hasBatches && (stepAt >= 0 || sourceAt >= 0)) {
    throw new TraceError(
      'columns',
      stepAt >= 0 ? 'step without source_gpu' : 'source_gpu without step',
      'both, or neither',
    );
  }
  if (domainAt >= 0 && sequenceAt < 0)
    throw new TraceError('columns', 'domain without sequence', 'both, or neither');
  const domains = domainAt >= 0 ? await domainsOf(table) : undefined;
  const layout = await layoutOf(table);
  const layers = layout.layers.length;
  const trace = job.tokens(
    { experts: limit, topK, layerIds: layout.layers, domains },
    {
      batches: hasBatches,
      sequences: sequenceAt >= 0,
      domains: domains !== undefined,
      phases: phaseAt >= 0,
      padding: paddingAt >= 0,
      weights: weights.length > 0,
    },
  );
  const picks = new Uint16Array(layers * topK);
  const gates = weights.length > 0 ? new Float32Array(picks.length) : null;
  const filled = new Uint8Array(layers);
  let seen = 0;
  let token = -1;
  let sequenceName = -1;
  let recordedStep = -1;
  let gpus = 0;
  const marks = { sequence: -1, domain: 0, phase: 'prefill' as Phase, step: -1, source: 0, padding: false };
  const flush = (place: string) => {
    if (token < 0) return;
    const missing = filled.indexOf(0);
    if (missing >= 0) {
      throw new TraceError(
        place,
        `no layer ${layout.layers[missing]} of token ${token}`,
        'a row for every layer',
      );
    }
    filled.fill(0);
    trace.writer.add(marks, picks, gates);
  };
  for await (const { place, values } of table.rows(wanted)) {
    const ownToken = whole(place, 'token', values[0], Number.MAX_SAFE_INTEGER);
    if (ownToken !== token) {
      flush(place);
      if (ownToken < token)
        throw new TraceError(place, `token ${ownToken} after ${token}`, 'rows sorted by token');
      token = ownToken;
      if (sequenceAt >= 0) {
        const name = whole(place, 'sequence', values[sequenceAt], Number.MAX_SAFE_INTEGER);
        if (name !== sequenceName) marks.sequence++;
        sequenceName = name;
      }
      if (domains) marks.domain = domains.indexOf(String(values[domainAt]));
      if (phaseAt >= 0) marks.phase = phaseOf(place, values[phaseAt]);
      if (paddingAt >= 0) marks.padding = flagOf(place, 'padding', values[paddingAt]);
      if (hasBatches) {
        const step = whole(place, 'step', values[stepAt], 2 ** 31);
        if (step < recordedStep)
          throw new TraceError(place, `step ${step} after ${recordedStep}`, 'rows sorted by step');
        if (step !== recordedStep) marks.step++;
        recordedStep = step;
        marks.source = whole(place, 'source_gpu', values[sourceAt], 65_536);
        gpus = Math.max(gpus, marks.source + 1);
      }
    }
    const layer = layout.index.get(whole(place, 'layer', values[1], Number.MAX_SAFE_INTEGER));
    if (layer === undefined || filled[layer] === 1) {
      throw new TraceError(
        place,
        `layer ${values[1]} of token ${token}`,
        'every layer of the first token, once',
      );
    }
    filled[layer] = 1;
    for (let j = 0; j < topK; j++) {
      const expert = whole(place, `expert_${j}`, values[2 + j], limit);
      if (expert > seen) seen = expert;
      picks[layer * topK + j] = expert;
      if (gates) {
        const weight = values[2 + topK + j];
        if (typeof weight !== 'number' || !Number.isFinite(weight)) {
          throw new TraceError(
            `${place}, column weight_${j}`,
            String(weight).slice(0, 80),
            'a finite number',
          );
        }
        gates[layer * topK + j] = weight;
      }
    }
  }
  flush('the last row');
  if (job.options.experts === undefined) {
    job.note(
      `${seen + 1} experts: the largest number seen and one more, since the table does not say how many (--experts does)`,
    );
  }
  return trace.finish({
    experts: job.options.experts ?? seen + 1,
    ...(hasBatches ? { gpus, steps: marks.step + 1 } : {}),
  });
}

async function domainsOf(table: Table): Promise<string[]> {
  const names = new Set<string>();
  for await (const { place, values } of table.rows(['domain'])) {
    names.add(String(values[0]));
    if (names.size > MOST_DOMAINS) throw new TraceError(place, `more than ${MOST_DOMAINS} domains`, 'fewer');
  }
  return [...names].sort();
}

async function layoutOf(table: Table): Promise<Layout> {
  const layers: number[] = [];
  let first: number | null = null;
  for await (const { place, values } of table.rows(['token', 'layer'])) {
    const token = whole(place, 'token', values[0], Number.MAX_SAFE_INTEGER);
    first ??= token;
    if (token !== first) break;
    layers.push(whole(place, 'layer', values[1], Number.MAX_SAFE_INTEGER));
  }
  if (layers.length === 0) throw new TraceError('', 'no rows', 'at least one');
  layers.sort((a, b) => a - b);
  return { layers, index: new Map(layers.map((layer, i) => [layer, i])) };
}

async function readCounts(job: ImportJob, table: Table): Promise<TraceHeader> {
  const has = (name: string) => table.columns.includes(name);
  const optional = ['step', 'source_gpu', 'padding_copies', 'phase'].filter(has);
  const wanted = ['layer', 'expert', 'copies', ...optional];
  const [stepAt, sourceAt, paddingAt, phaseAt] = ['step', 'source_gpu', 'padding_copies', 'phase'].map(
    (name) => wanted.indexOf(name),
  );
  const limit = job.options.experts ?? MOST_EXPERTS;
  // One pass for the layers, experts and sources; another for the counts, a step at a time.
  const layers = new Set<number>();
  let mostExpert = 0;
  let mostSource = 0;
  for await (const { place, values } of table.rows(wanted)) {
    layers.add(whole(place, 'layer', values[0], 2 ** 31));
    mostExpert = Math.max(mostExpert, whole(place, 'expert', values[1], limit));
    if (sourceAt >= 0)
      mostSource = Math.max(mostSource, whole(place, 'source_gpu', values[sourceAt], 65_536));
  }
  if (layers.size === 0) throw new TraceError('', 'no rows', 'at least one');
  const experts = job.experts(job.options.experts ?? mostExpert + 1);
  if (job.options.experts === undefined) {
    job.note(
      `${experts} experts: the largest number seen and one more, since the table does not say how many (--experts does)`,
    );
  }
  const layerIds = [...layers].sort((a, b) => a - b);
  const sources = mostSource + 1;
  if (sourceAt < 0)
    job.note('counts without source GPUs: every expert’s copies are split evenly over the GPUs');
  const steps = new CountSteps(
    job,
    {
      experts,
      topK: job.topK(undefined, experts),
      layerIds,
      ...(sourceAt >= 0 ? { gpus: sources } : {}),
    },
    { phases: phaseAt >= 0, padding: paddingAt >= 0 },
  );
  const counts = layerIds.map(() => new Int32Array(sources * experts));
  const padding = counts.map((layer) => layer.slice());
  let phase: Phase | undefined;
  const flush = () => steps.add(`step ${step}`, counts, { ...(paddingAt >= 0 && { padding }), phase });
  let step = -1;
  for await (const { place, values } of table.rows(wanted)) {
    const own = stepAt < 0 ? 0 : whole(place, 'step', values[stepAt], 2 ** 31);
    if (own !== step) {
      if (own < step) throw new TraceError(place, `step ${own} after ${step}`, 'rows sorted by step');
      if (step >= 0) flush();
      for (const layer of [...counts, ...padding]) layer.fill(0);
      step = own;
      phase = undefined;
    }
    if (phaseAt >= 0) {
      const own = phaseOf(place, values[phaseAt]);
      if (phase !== undefined && own !== phase)
        throw new TraceError(place, `${own} in a step of ${phase}`, 'one phase in each step');
      phase = own;
    }
    const source = sourceAt < 0 ? 0 : (values[sourceAt] as number);
    const layer = layerIds.indexOf(values[0] as number);
    const cell = source * experts + (values[1] as number);
    counts[layer][cell] += whole(place, 'copies', values[2], 2 ** 31);
    if (paddingAt >= 0) padding[layer][cell] += whole(place, 'padding_copies', values[paddingAt], 2 ** 31);
  }
  flush();
  return steps.finish();
}
