import { dirname } from 'node:path';
import type { PlacementMap } from './balancing/index.js';
import { FileCache, hashOf, loadMilpSolver } from './files/index.js';
import { KeptSteps, type RoutingSources } from './routing/index.js';
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
import {
  BalanceObserver,
  KeptRuns,
  checkFaults,
  checkOffload,
  checkPolicies,
  offloadOf,
  RefusalError,
  simulateScenario,
  withoutSchema,
  type Result,
  type SimulationSpec,
} from './simulation/index.js';
import { VERSION } from './version.js';

/** How to run a scenario. */
export interface RunOptions {
  /** Folder that relative paths of the scenario start at; default: that of `file`, else the working folder. */
  baseDir?: string;
  /** Name of the scenario's file, for messages. */
  file?: string;
  /** Opened files that several scenarios share. */
  files?: FileCache;
  /** Steps that several scenarios share. */
  sources?: RoutingSources;
  /** Placement maps that stand for the files of these paths. */
  placementMaps?: ReadonlyMap<string, PlacementMap>;
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
  const sources = options.sources ?? sourcesForFaults(scenario);
  const { contents, hashes } = await openFiles(scenario, file, baseDir, options.files, options.placementMaps);
  const resolved = resolveScenario(scenario, file, contents, sources);
  inFile(file, () => {
    checkPolicies(resolved);
    const offload = offloadOf(resolved);
    if (offload !== null) checkOffload(offload);
    checkFaults(resolved, resolved.faults);
  });
  return {
    file,
    scenario,
    resolved,
    inputs: hashOf([...computedBy(), JSON.stringify(withoutSchema(scenario)), ...hashes]),
  };
}

/** Bytes of steps that are kept where a run goes over them again. */
const KEPT_BYTES = 256 * 2 ** 20;

/** What keeps the steps of a run with faults, which goes over them once for every fault and more. */
function sourcesForFaults({ cluster }: Scenario): RoutingSources | undefined {
  return typeof cluster === 'string' || !cluster.faults?.length ? undefined : new KeptSteps(KEPT_BYTES);
}

/**
 * Opens the files that a scenario names.
 * @param file the scenario's name, for messages
 * @param given maps that are not read
 * @returns what they hold, and their hashes
 * @throws ScenarioError, TraceError or FileError
 */
export async function openFiles(
  scenario: Scenario,
  file: string,
  baseDir: string,
  files = new FileCache(),
  given: ReadonlyMap<string, PlacementMap> = new Map(),
): Promise<{ contents: ScenarioContents; hashes: string[] }> {
  const named = filesOf(scenario);
  const contents: ScenarioContents = {};
  const hashes: string[] = [];
  for (const kind of ['modelConfig', 'profile', 'twin', 'sensitivity', 'precisionPlan'] as const) {
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
    const map = given.get(path);
    if (map !== undefined) {
      placements.set(path, map);
      hashes.push(hashOf([JSON.stringify(map)]));
      continue;
    }
    const { content, sha256 } = await files.placementMap(path, baseDir);
    placements.set(path, content);
    hashes.push(sha256);
  }
  contents.placements = placements;
  const sensitivities = new Map<string, unknown>();
  for (const path of named.sensitivities) {
    const { content, sha256 } = await files.json(path, baseDir);
    sensitivities.set(path, content);
    hashes.push(sha256);
  }
  contents.sensitivities = sensitivities;
  if (named.needsSolver) contents.solver = await loadMilpSolver();
  return { contents, hashes };
}

/** Versions of what computes a result; others may compute other digits. */
export function computedBy(): [version: string, v8: string] {
  return [VERSION, process.versions.v8];
}

/** Says in which file stands what a simulation refuses. */
export function inFile<T>(file: string, simulateOrCheck: () => T): T {
  try {
    return simulateOrCheck();
  } catch (error) {
    if (!(error instanceof RefusalError)) throw error;
    throw new ScenarioError(file, error.path, error.found, error.allowed);
  }
}

/**
 * Runs a scenario.
 * @param scenario as its JSON file holds it
 * @throws ScenarioError, TraceError or FileError, with what was found and what is allowed
 */
export async function run(scenario: ScenarioInput, options: RunOptions = {}): Promise<Result> {
  return runOpened(await openScenario(scenario, options), options.onStep).result;
}

/** An opened scenario's result, and what it leaves out. */
export interface Ran {
  result: Result;
  /** Seconds of every counted (step, layer) by policy. */
  latencies: Float64Array[];
  /** What balance metrics were made of; null where nobody asked for them. */
  balance: BalanceObserver | null;
}

/** What else to look at while a scenario runs. */
export interface Watch {
  /** Asks for every definition of balance, over windows of so many steps (null: of all). */
  metrics?: { window: number | null };
  /** Called after every simulated layer, as by `simulate`. */
  onLayer?: SimulationSpec['onLayer'];
  /** Called after the head of every step of scope `model`, as by `simulate`. */
  onHead?: SimulationSpec['onHead'];
  /** Runs of scenarios with the same files, used where nobody else looks. */
  kept?: KeptRuns;
}

/** Runs an opened scenario. */
export function runOpened(
  opened: OpenedScenario,
  onStep?: RunOptions['onStep'],
  { metrics, onLayer, onHead, kept }: Watch = {},
): Ran {
  const { file, scenario, resolved, inputs } = opened;
  const { policies, source, machine } = resolved;
  const balance =
    metrics === undefined
      ? null
      : new BalanceObserver(
          policies.map(({ options }) => options),
          source,
          machine.cluster.gpusPerNode,
          metrics.window,
        );
  const observe: SimulationSpec['onLayer'] = (...layer) => {
    balance?.observe(...layer);
    onLayer?.(...layer);
  };
  const isWatched = balance !== null || onLayer !== undefined;
  const { result, latencies } = inFile(file, () =>
    simulateScenario(
      scenario,
      resolved,
      { version: VERSION, inputs },
      { onStep, onLayer: isWatched ? observe : undefined, onHead },
      kept && { runs: kept },
    ),
  );
  return { result: balance === null ? result : { ...result, balance: balance.finish() }, latencies, balance };
}
