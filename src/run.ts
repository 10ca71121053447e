import { dirname } from 'node:path';
import type { PlacementMap } from './balancing/index.js';
import { FileCache, hashOf } from './files/index.js';
import type { KeptDraws } from './routing/index.js';
import {
  filesOf,
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
  /** Opened files that several scenarios share. */
  files?: FileCache;
  /** Generated steps that several scenarios share. */
  draws?: KeptDraws;
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
  const { file = 'scenario', draws } = options;
  const baseDir = options.baseDir ?? (options.file === undefined ? process.cwd() : dirname(options.file));
  const scenario = parseScenario(input, file);
  const { contents, hashes } = await openFiles(scenario, file, baseDir, options.files);
  const resolved = resolveScenario(scenario, file, contents, draws && ((spec) => draws.source(spec)));
  inFile(file, () => checkPolicies(resolved));
  return {
    file,
    scenario,
    resolved,
    inputs: hashOf([...computedBy(), JSON.stringify(withoutSchema(scenario)), ...hashes]),
  };
}

/**
 * Opens the files that a scenario names.
 * @param file the scenario's name, for messages
 * @returns what they hold, and their hashes
 * @throws ScenarioError, TraceError or FileError
 */
export async function openFiles(
  scenario: Scenario,
  file: string,
  baseDir: string,
  files = new FileCache(),
): Promise<{ contents: ScenarioContents; hashes: string[] }> {
  const named = filesOf(scenario);
  const contents: ScenarioContents = {};
  const hashes: string[] = [];
  for (const kind of ['modelConfig', 'profile'] as const) {
    const path = named[kind];
    if (path === undefined) continue;
    const { content, sha256 } = await files.json(path, baseDir);
    contents[kind] = content;
    hashes.push(sha256);
  }
  if (named.trace !== undefined) {
    const { topK } = resolveModel(scenario, file, contents.modelConfig);
    const { content, sha256 } = await files.trace(named.trace, baseDir, topK);
    contents.trace = content;
    hashes.push(sha256);
  }
  const placements = new Map<string, PlacementMap>();
  for (const path of named.placements) {
    const { content, sha256 } = await files.placementMap(path, baseDir);
    placements.set(path, content);
    hashes.push(sha256);
  }
  contents.placements = placements;
  return { contents, hashes };
}

/** Versions of what computes a result; others may compute other digits. */
export function computedBy(): [version: string, v8: string] {
  return [VERSION, process.versions.v8];
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
  const { machine, runtime, source, policies, warmup, resamples, seed, contexts, training, placementMaps } =
    resolved;
  const { cluster, shape } = machine;
  const simulated = inFile(opened.file, () =>
    simulate({
      source,
      policies,
      machine,
      runtime,
      seed,
      warmup,
      resamples,
      contexts,
      training,
      placementMaps,
      onStep,
    }),
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
