import {
  escaped,
  htmlTable,
  comparisonTables,
  figureHtml,
  figuresOf,
  pageData,
  verdict,
} from '../report/index.js';
import { parseScenario, resolveScenario } from '../scenario/index.js';
import { Recorder, simulateScenario, type Recording, type Result } from '../simulation/index.js';
import type { Trace } from '../routing/index.js';
import { scenarioOf, type Settings } from './settings.js';

/** Name of the scenario in messages. */
const FILE = 'playground';

/** Rows of a picture's table: a page that is drawn while one drags must be small. */
const MOST_ROWS = 40;

/** Pictures of the playground. */
const SHOWN = ['gantt', 'memory', 'loads'];

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
  const resolved = resolveScenario(scenario, FILE, trace === null ? {} : { trace });
  const { source } = resolved;
  const recorder = new Recorder({ layers: source.layerIds, gpus: source.gpus, steps: [source.steps - 1] });
  const by = { version, inputs: 'run in a browser, without a hash' };
  const { result } = simulateScenario(scenario, resolved, by, { onLayer: recorder.onLayer });
  return { result, recording: recorder.recording() };
}

/** The recommendation, the table and the notes. */
export function numbersHtml({ result }: Simulated): string {
  const tables = comparisonTables(result).map(({ title, head, rows }) =>
    htmlTable(title, ['policy', ...head.slice(1)], rows),
  );
  const notes = result.routing.notes.map((note) => `<li>${escaped(note)}</li>`);
  const remarks = `<details><summary>What to know about these numbers</summary><ul class="how">${notes.join('')}</ul></details>`;
  return `<p class="verdict">${escaped(verdict(result))}</p>${tables.join('')}${remarks}`;
}

/** Pictures as the report draws them. */
export async function picturesHtml({ result, recording }: Simulated): Promise<string> {
  const figures = figuresOf(pageData(result, recording)).filter(({ id }) => SHOWN.includes(id));
  const drawn: string[] = [];
  for (const figure of figures) drawn.push(await figureHtml(figure, MOST_ROWS));
  return drawn.join('');
}
