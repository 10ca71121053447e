import { policyLabel, policyOf } from '../balancing/index.js';
import { FRAGMENTATION_SHARE, NON_TENSOR_BYTES } from '../execution/index.js';
import {
  comparisonTables,
  escaped,
  figureHtml,
  figuresOf,
  formatBytes,
  formatShare,
  htmlTable,
  KeptCharts,
  legendLines,
  pageData,
  verdict,
  type Figure,
} from '../report/index.js';
import { parseScenario, resolveScenario } from '../scenario/index.js';
import { KeptRuns, Recorder, simulateScenario, type Recording, type Result } from '../simulation/index.js';
import { KeptSteps, type Trace } from '../routing/index.js';
import { sentence } from './choice-help.js';
import { scenarioOf } from './scenario-of.js';
import type { Settings } from './settings.js';

/** Name of the scenario in messages. */
const FILE = 'playground';

/** Rows of a picture's table: a page that is drawn while one drags must be small. */
const MOST_ROWS = 40;

/** Pictures of the playground. */
const SHOWN = ['gantt', 'memory', 'loads'];

/** Steps and runs of the settings before: most sliders change one policy, and not the routing. */
const MOST_STEP_BYTES = 256 * 2 ** 20;
const MOST_RUN_BYTES = 64 * 2 ** 20;
let steps = new KeptSteps(MOST_STEP_BYTES);
let runs = new KeptRuns(MOST_RUN_BYTES);

/** Lets go of the recording before, once there is another. */
export function forgetKept(): void {
  steps = new KeptSteps(MOST_STEP_BYTES);
  runs = new KeptRuns(MOST_RUN_BYTES);
}

/** What a run of the playground shows. */
export interface Simulated {
  result: Result;
  recording: Recording;
}

/**
 * Runs the scenario of the settings.
 * @param trace the one that was dropped, if any
 * @param version of epsim
 * @throws ScenarioError, TraceError or RefusalError
 */
export function simulateSettings(settings: Settings, trace: Trace | null, version: string): Simulated {
  const scenario = parseScenario(scenarioOf(settings), FILE);
  const resolved = resolveScenario(scenario, FILE, trace === null ? {} : { trace }, steps);
  const { source } = resolved;
  const recorder = new Recorder({ layers: source.layerIds, gpus: source.gpus, steps: [source.steps - 1] });
  const by = { version, inputs: 'run in a browser, without a hash' };
  const watch = { onLayer: recorder.onLayer };
  const { result } = simulateScenario(scenario, resolved, by, watch, { runs, watcher: recorder });
  return { result, recording: recorder.recording() };
}

/** What a run says in words and numbers. */
export interface NumbersHtml {
  /** Plain text. */
  verdict: string;
  tables: string;
  /** What the tables mean, and what to know about their numbers. */
  words: string;
}

/** The recommendation, the tables, and the words that explain them. */
export function numbersHtml({ result }: Simulated): NumbersHtml {
  const tables = comparisonTables(result).map(({ title, head, rows }) =>
    htmlTable(title, ['policy', ...head.slice(1)], rows),
  );
  const rows = result.policies.map(
    ({ policy }) => `${policyLabel(policy)}: ${sentence(policyOf(policy).summary)}`,
  );
  const words = [
    ['What the rows and columns mean', [...rows, ...legendLines(result), ...MARKS]],
    ['What to know about these numbers', result.routing.notes],
  ] as const;
  return { verdict: verdict(result), tables: tables.join(''), words: words.map(disclosure).join('') };
}

/** What a row's marks mean. */
const MARKS = [
  '(anchor): a yardstick to compare with, which nobody can run.',
  `fits: the peak, ${formatShare(FRAGMENTATION_SHARE)} of it for what an allocator cannot use and ` +
    `${formatBytes(NON_TENSOR_BYTES)} for libraries are within the GPU’s memory; at risk: only without the allocator’s part.`,
];

function disclosure([title, lines]: readonly [string, readonly string[]]): string {
  const items = lines.map((line) => `<li>${escaped(line)}</li>`);
  return `<details><summary>${title}</summary><ul class="how">${items.join('')}</ul></details>`;
}

/** Pictures that are kept for the next redraw: as many as a few settings have. */
const MOST_KEPT = 12;
const charts = new KeptCharts(MOST_KEPT);

/** What the playground draws of a run, yet to be drawn. */
export function picturesOf({ result, recording }: Simulated): Figure[] {
  return figuresOf(pageData(result, recording)).filter(({ id }) => SHOWN.includes(id));
}

/** A picture as the report draws it; one after the other. */
export function pictureHtml(picture: Figure): Promise<string> {
  return figureHtml(picture, MOST_ROWS, (chart) => charts.svg(chart));
}
