import { dirname } from 'node:path';
import { FileCache, hashOf } from './files/index.js';
import { routerLoads } from './inspection/index.js';
import type { LabEntry, LabReport } from './report/index.js';
import {
  labSchema,
  objectiveOf,
  RouterLab,
  type LabOptions,
  type ObjectiveOptions,
  type RecordedRouter,
} from './routers/index.js';
import { encodeTokenTrace } from './routing/index.js';
import { openScenario, runOpened } from './run.js';
import { parseScenario, partsOf, ScenarioError, type ScenarioInput } from './scenario/index.js';
import { VERSION } from './version.js';

/** The scenario that a lab runs where none is given: small enough for seconds, with nodes to be local to. */
const DEFAULT_SCENARIO: ScenarioInput = {
  name: 'router lab',
  model: { preset: 'gpt-oss-20b', weightDtype: 'bf16' },
  cluster: { gpu: 'h200', gpus: 16, gpusPerNode: 4 },
  workload: {
    phase: 'prefill',
    tokensPerGpu: 1024,
    steps: 4,
    // Replaced by each router's routing.
    routing: { kind: 'balanced' },
  },
  policies: ['ep', 'llep', 'eplb', { kind: 'capacity', order: 'score' }],
  seed: 1,
};

/** Every objective as it is, and the load-balancing loss strong enough to balance as well. */
const DEFAULT_OBJECTIVES: readonly ObjectiveOptions[] = [
  { kind: 'none' },
  { kind: 'switch', alpha: 0.01 },
  { kind: 'switch', alpha: 1 },
  ...(['z-loss', 'simbal', 'loss-free', 'alf-lb', 'lpr', 'locmoe'] as const).map((kind) =>
    objectiveOf({ kind }).options.parse({ kind }),
  ),
];

export interface RouterLabOptions {
  /** Whose model, cluster, batch and policies to use; its routing is replaced. */
  scenario?: { input: unknown; file: string };
  /** Undefined: all of them; then one that does not fit is left out instead of an error. */
  objectives?: readonly ObjectiveOptions[];
  lab?: LabOptions;
  seed?: number | string;
  /** Called with each trace as the bytes of a native file. */
  onTrace?: (label: string, bytes: Uint8Array) => void;
  onObjective?: (done: number, of: number) => void;
}

/**
 * Trains a router under each objective, records its routing, and runs the scenario under it.
 * @throws ScenarioError, TraceError or FileError
 */
export async function runRouterLab(options: RouterLabOptions): Promise<LabReport> {
  const { input, file } = options.scenario ?? { input: DEFAULT_SCENARIO, file: 'the default scenario' };
  const lab = options.lab ?? labSchema.parse({});
  const scenario = parseScenario(input, file);
  const seed = options.seed ?? scenario.seed;
  const baseDir = options.scenario === undefined ? process.cwd() : dirname(file);
  const files = new FileCache();
  const { tokensPerGpu, steps, phase } = scenario.workload;
  if (phase === 'training') {
    throw new ScenarioError(
      file,
      'workload.phase',
      phase,
      "prefill or decode: the lab's recordings are replayed once",
    );
  }
  if (tokensPerGpu === undefined || steps === undefined) {
    const missing = tokensPerGpu === undefined ? 'tokensPerGpu' : 'steps';
    throw new ScenarioError(file, `workload.${missing}`, 'nothing', 'a whole number ≥ 1');
  }
  // Opened once with other routing: what the scenario says of model and cluster, and whether it can run at all.
  const even = { ...scenario.workload, routing: { kind: 'balanced', gateWeights: true }, layer: 0 };
  const { machine } = (await openScenario({ ...(input as object), workload: even }, { file, baseDir, files }))
    .resolved;
  const { shape, cluster } = machine;
  const { gpus, gpusPerNode } = cluster;
  const setting = { experts: shape.experts, topK: shape.topK, gpus, gpusPerNode, tokensPerGpu, steps };
  const routers = inScenario(file, () => new RouterLab(lab, setting, seed));
  const asked = options.objectives ?? DEFAULT_OBJECTIVES;
  const entries: LabEntry[] = [];
  const leftOut: string[] = [];
  for (const [done, objective] of asked.entries()) {
    options.onObjective?.(done, asked.length);
    const label = labelOf(objective);
    let recorded: RecordedRouter;
    try {
      recorded = routers.train(objective);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      if (options.objectives) throw inputError('--objective', error);
      leftOut.push(error.message);
      continue;
    }
    const bytes = encodeTokenTrace(recorded.trace);
    options.onTrace?.(label, bytes);
    const path = `${label}.parquet`;
    files.hold(path, baseDir, shape.topK, recorded.trace, hashOf([bytes.buffer]));
    const routing = { kind: 'trace' as const, path, batching: 'recorded' as const };
    const own = { ...(input as object), workload: { ...scenario.workload, routing, layer: 0 } };
    const opened = await openScenario(own, { file, baseDir, files });
    entries.push({
      label,
      objective,
      trained: recorded.trained,
      loads: routerLoads(recorded.trace, gpusPerNode),
      result: runOpened(opened).result,
    });
  }
  options.onObjective?.(asked.length, asked.length);
  const claims = entries.flatMap(({ objective }) =>
    objectiveOf(objective).notSimulated.map((claim) => `${objective.kind}: ${claim}`),
  );
  return {
    schema: 'epsim/router-lab@1',
    version: VERSION,
    lab,
    seed,
    nodes: gpus / gpusPerNode,
    entries,
    leftOut,
    notSimulated: [...new Set(claims)],
  };
}

/** `switch(alpha=1)`: the kind, and what differs from its defaults. */
function labelOf(objective: ObjectiveOptions): string {
  const { kind, ...own } = objective;
  const defaults = objectiveOf(objective).options.parse({ kind }) as unknown as Record<string, unknown>;
  const changed = Object.entries(own).filter(([key, value]) => defaults[key] !== value);
  return changed.length === 0
    ? kind
    : `${kind}(${changed.map(([key, value]) => `${key}=${value}`).join(',')})`;
}

function inScenario<T>(file: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw inputError(file, error);
  }
}

function inputError(place: string, { message }: RangeError): ScenarioError {
  const { path, found, allowed } = partsOf(message, '');
  return new ScenarioError(place, path, found, allowed);
}
