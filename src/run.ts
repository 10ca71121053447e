import { dirname } from 'node:path';
import { readPlacementMap, type PlacementMap } from './balancing/index.js';
import { hashOf, locate, readBytes, readJson, readTrace } from './files/index.js';
import {
  filesOf,
  partsOf,
  parseScenario,
  resolveModel,
  resolveScenario,
  ScenarioError,
  type ResolvedScenario,
  type Scenario,
  type ScenarioContents,
  type ScenarioInput,
} from './scenario/index.js';
import { checkPolicies, RefusalError, simulate, type Result } from './simulation/index.js';
import { VERSION } from './version.js';

/** How to run a scenario. */
export interface RunOptions {
  /** Folder that relative paths of the scenario start at; default: that of `file`, else the working folder. */
  baseDir?: string;
  /** Name of the scenario's file, for messages. */
  file?: string;
  /** Called with the number of simulated steps, and of all that will be. */
  onStep?: (done: number, of: number) => void;
}

/** A scenario with its files opened. */
export interface OpenedScenario {
  /** Name of the scenario's file, for messages. */
  file: string;
  scenario: Scenario;
  resolved: ResolvedScenario;
  /** Hash of everything that a result depends on. */
  inputs: string;
}

/**
 * Checks a scenario and opens the files that it names.
 * @throws ScenarioError, TraceError or FileError, with file, path, what was found and what is allowed
 */
export async function openScenario(input: unknown, options: RunOptions = {}): Promise<OpenedScenario> {
  const { file = 'scenario' } = options;
  const baseDir = options.baseDir ?? (options.file === undefined ? process.cwd() : dirname(options.file));
  const scenario = parseScenario(input, file);
  const named = filesOf(scenario);
  const contents: ScenarioContents = {};
  const hashed: (string | ArrayBuffer)[] = [
    VERSION,
    process.versions.v8,
    JSON.stringify(withoutSchema(scenario)),
  ];
  for (const kind of ['modelConfig', 'profile'] as const) {
    const path = named[kind];
    if (path === undefined) continue;
    contents[kind] = await readJson(locate(path, baseDir));
    hashed.push(await readBytes(locate(path, baseDir)));
  }
  if (named.trace !== undefined) {
    const { topK } = resolveModel(scenario, file, contents.modelConfig);
    const { trace, hash } = await readTrace(named.trace, baseDir, topK);
    contents.trace = trace;
    hashed.push(hash);
  }
  const placements = new Map<string, PlacementMap>();
  for (const path of named.placements) {
    const bytes = await readBytes(locate(path, baseDir));
    placements.set(path, await readMap(bytes, locate(path, baseDir)));
    hashed.push(bytes);
  }
  contents.placements = placements;
  const resolved = resolveScenario(scenario, file, contents);
  inFile(file, () => checkPolicies(resolved));
  return { file, scenario, resolved, inputs: hashOf(hashed) };
}

/** Reads a placement map. @throws ScenarioError that names its file */
async function readMap(bytes: ArrayBuffer, path: string): Promise<PlacementMap> {
  try {
    return await readPlacementMap(bytes);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const parts = partsOf(error.message, 'this file');
    throw new ScenarioError(path, parts.path, parts.found, parts.allowed);
  }
}

/** Says in which file stands what a simulation refuses. */
function inFile<T>(file: string, simulateOrCheck: () => T): T {
  try {
    return simulateOrCheck();
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    throw new ScenarioError(file, error.path, error.found, error.allowed);
  }
}

function withoutSchema({ $schema: _, ...scenario }: Scenario): object {
  return scenario;
}

/**
 * Runs a scenario.
 * @param scenario as its JSON file holds it
 * @throws ScenarioError, TraceError or FileError, with what was found and what is allowed
 */
export async function run(scenario: ScenarioInput, options: RunOptions = {}): Promise<Result> {
  return runOpened(await openScenario(scenario, options), options.onStep).result;
}

/** Runs an opened scenario; `latencies` are the seconds of every counted (step, layer) by policy. */
export function runOpened(
  opened: OpenedScenario,
  onStep?: RunOptions['onStep'],
): { result: Result; latencies: Float64Array[] } {
  const { resolved, inputs } = opened;
  const { machine, runtime, source, policies, warmup, resamples, seed, placementMaps } = resolved;
  const { cluster, shape } = machine;
  const simulated = inFile(opened.file, () =>
    simulate({ source, policies, machine, runtime, seed, warmup, resamples, placementMaps, onStep }),
  );
  const { routing } = simulated;
  const result: Result = {
    schema: 'epsim/result@1',
    version: VERSION,
    inputs,
    scenario: withoutSchema(opened.scenario),
    model: shape.name,
    moeLayers: shape.moeLayers,
    cluster: {
      gpu: cluster.gpu.name,
      gpus: cluster.gpus,
      gpusPerNode: cluster.gpusPerNode,
      fabric: cluster.fabric,
    },
    runtime: runtime.preset,
    profile: { name: cluster.profile.name, status: cluster.profile.status },
    allowedLoss: opened.scenario.allowedLoss,
    routing: { ...routing, notes: [...routing.notes, ...resolved.notes] },
    policies: simulated.policies,
    fastest: simulated.fastest,
  };
  return { result, latencies: simulated.latencies };
}
