import {
  kindOf,
  policies as knownPolicies,
  policyOf,
  type MilpSolver,
  type PlacementMap,
  type PolicyOptions,
} from '../balancing/index.js';
import {
  createRuntime,
  NON_TENSOR_BYTES,
  runtimes,
  trainingSchema,
  type Contexts,
  type Machine,
  type OffloadOptions,
  type RuntimeOptions,
  type TrainingOptions,
} from '../execution/index.js';
import {
  clusterPresets,
  clusterSchema,
  defaultProfile,
  findStage,
  gpuPresets,
  profileSchema,
  shippedProfiles,
  type Cluster,
  type Fault,
} from '../hardware/index.js';
import {
  completeShape,
  modelPresets,
  sensitivitySchema,
  shapeFromConfig,
  shapeSchema,
  slicedModel,
  wholeModel,
  type MoeShape,
  type Sensitivity,
} from '../model/index.js';
import {
  freshSources,
  prunedSource,
  pruningOf,
  TraceError,
  type GeneratorOptions,
  type RoutingSource,
  type RoutingSources,
  twinSchema,
  twinTrace,
  type Trace,
  type TraceHeader,
} from '../routing/index.js';
import { contextsOf } from './contexts.js';
import { show } from './describe-issue.js';
import { parseInput } from './parse.js';
import { perGpu } from './per-gpu.js';
import { precisionOptionsOf, resolvePrecision, type PrecisionSummary } from './precision.js';
import { partsOf, ScenarioError } from './scenario-error.js';
import type { Scenario, TraceOptions, TwinOptions } from './schema.js';

/** Files that a scenario names, as its text says them. */
export interface ScenarioFiles {
  modelConfig?: string;
  profile?: string;
  trace?: string;
  twin?: string;
  sensitivity?: string;
  precisionPlan?: string;
  /** Placement maps. */
  placements: string[];
  /** What precisions cost, as policies name it. */
  sensitivities: string[];
  /** A policy has integer programs to solve. */
  needsSolver: boolean;
}

/** What is in those files. */
export interface ScenarioContents {
  modelConfig?: unknown;
  profile?: unknown;
  /** Opened by `readTrace` with the model's topK. */
  trace?: Trace;
  twin?: unknown;
  sensitivity?: unknown;
  precisionPlan?: unknown;
  /** By path. */
  placements?: ReadonlyMap<string, PlacementMap>;
  /** By path. */
  sensitivities?: ReadonlyMap<string, unknown>;
  solver?: MilpSolver;
}

/** A scenario with everything that a simulation needs. */
export interface ResolvedScenario {
  machine: Machine;
  runtime: RuntimeOptions;
  /** Null: the steps are inference. */
  training: TrainingOptions | null;
  /** Null: all experts are in the GPUs' memory. */
  offload: OffloadOptions | null;
  source: RoutingSource;
  policies: { options: PolicyOptions; anchor: boolean }[];
  warmup: number | null;
  resamples: number | null;
  seed: number | string;
  /** What breaks during the run. */
  faults: readonly Fault[];
  /** null in scope `layer`. */
  contexts: Contexts | null;
  /** What is said of the experts' precision; null: they are as the shape says. */
  precision: PrecisionSummary | null;
  placementMaps: ReadonlyMap<string, PlacementMap>;
  sensitivities: ReadonlyMap<string, Sensitivity>;
  /** For placements that are integer programs. */
  solver: MilpSolver | null;
  /** Things that a reader of the result must know. */
  notes: string[];
}

/** Which files must be opened. */
export function filesOf(scenario: Scenario): ScenarioFiles {
  const { model, cluster, workload, policies } = scenario;
  const precision = precisionOptionsOf(scenario);
  const profile = typeof cluster === 'string' ? undefined : cluster.profile;
  return {
    modelConfig: typeof model === 'string' && !(model in modelPresets) ? model : undefined,
    profile:
      profile !== undefined && !shippedProfiles.some(({ name }) => name === profile) ? profile : undefined,
    trace: workload.routing.kind === 'trace' ? workload.routing.path : undefined,
    twin: workload.routing.kind === 'twin' ? workload.routing.path : undefined,
    sensitivity: precision?.sensitivity,
    precisionPlan: typeof precision?.bits === 'string' ? precision.bits : undefined,
    placements: [...new Set(policies.flatMap(placementPath))],
    sensitivities: [...new Set(policies.flatMap(sensitivityPath))],
    needsSolver: policies.some(
      (policy) =>
        typeof policy !== 'string' && 'placement' in policy && kindOf(policy.placement) === 'affinity',
    ),
  };
}

/** The losses that a policy names. */
function sensitivityPath(policy: Scenario['policies'][number]): string[] {
  if (typeof policy === 'string' || !('sensitivity' in policy)) return [];
  return policy.sensitivity === undefined ? [] : [policy.sensitivity];
}

/** The placement map that a policy names. */
function placementPath(policy: Scenario['policies'][number]): string[] {
  if (typeof policy === 'string' || !('placement' in policy)) return [];
  const { placement } = policy;
  return typeof placement !== 'string' && placement.kind === 'file' ? [placement.path] : [];
}

/**
 * @param file name for messages
 * @throws ScenarioError
 */
export function resolveModel({ model }: Scenario, file: string, config?: unknown): MoeShape {
  if (typeof model === 'string') {
    if (model in modelPresets)
      return completeShape(shapeSchema.parse({ name: model, ...modelPresets[model] }));
    // What is wrong with a config is wrong in its own file.
    const inConfig = <T>(make: () => T) => attempt(model, '', config, make);
    const read = inConfig(() => shapeFromConfig(config));
    const shape = { ...read, name: read.name ?? nameOfConfig(model) };
    const parsed = parseInput(shapeSchema, shape, model);
    return inConfig(() => completeShape(parsed));
  }
  if (!('preset' in model)) return attempt(file, 'model', model, () => completeShape(model));
  const { preset, ...overrides } = model;
  const merged = shapeSchema.parse({ name: preset, ...modelPresets[preset], ...overrides });
  return attempt(file, 'model', overrides, () => completeShape(merged));
}

/** A name for a model whose config has none: that of its folder, or of the file where that says more. */
function nameOfConfig(path: string): string {
  const [file, folder] = path.split(/[\\/]/).reverse();
  const name = file.replace(/\.json$/, '');
  if (name !== 'config') return name;
  return folder !== undefined && !/^\.*$/.test(folder) ? folder : file;
}

/** @throws ScenarioError */
export function resolveCluster({ cluster }: Scenario, file: string, profileFile?: unknown): Cluster {
  const given = clusterSchema.parse(typeof cluster === 'string' ? clusterPresets[cluster] : cluster);
  const { gpus, fabric } = given;
  const gpusPerNode = given.gpusPerNode ?? Math.min(8, gpus);
  if (gpus > gpusPerNode && gpus % gpusPerNode !== 0) {
    throw new ScenarioError(
      file,
      'cluster.gpus',
      `${gpus} GPUs in nodes of ${gpusPerNode}`,
      `a multiple of gpusPerNode, or at most ${gpusPerNode}`,
    );
  }
  const gpu = typeof given.gpu === 'string' ? gpuPresets[given.gpu] : given.gpu;
  if (gpu.memoryBytes <= NON_TENSOR_BYTES) {
    throw new ScenarioError(
      file,
      'cluster.gpu.memoryBytes',
      String(gpu.memoryBytes),
      `bytes, more than the ${NON_TENSOR_BYTES} that drivers and libraries are assumed to take`,
    );
  }
  const profile =
    profileFile !== undefined
      ? parseInput(profileSchema, profileFile, given.profile!)
      : (shippedProfiles.find(({ name }) => name === given.profile) ?? defaultProfile(gpu));
  if (profile.gpu !== gpu.name) {
    throw new ScenarioError(file, 'cluster.profile', `timings of ${profile.gpu}`, `timings of ${gpu.name}`);
  }
  if (profile.status === 'software' && !given.forceSoftwareProfile) {
    throw new ScenarioError(
      file,
      'cluster.profile',
      `${profile.name}, timed without a GPU (status software)`,
      'a profile of a GPU, or "forceSoftwareProfile": true for a trial whose seconds mean nothing',
    );
  }
  const { speed, jitter, pricePerGpuHour } = given;
  if (speed !== undefined && speed.length !== gpus) {
    throw new ScenarioError(
      file,
      'cluster.speed',
      `a list of ${speed.length}`,
      `one number for each of ${gpus} GPUs`,
    );
  }
  return {
    gpu,
    gpus,
    gpusPerNode: Math.min(gpusPerNode, gpus),
    fabric,
    profile,
    speed,
    jitter,
    pricePerGpuHour,
  };
}

/** What stands behind the times of a run. */
function profileNote({ cluster, shape }: Machine, { preset }: RuntimeOptions): string {
  const { name, status } = cluster.profile;
  if (status === 'first-guess') {
    const guessed = cluster.profile.nvlink.accuracy === undefined ? 'kernel and link times' : 'kernel times';
    return `profile ${name}: ${guessed} are first guesses, not measured`;
  }
  if (status === 'software') return `profile ${name}: timed without a GPU; its seconds mean nothing`;
  const { stack } = runtimes.find((runtime) => runtime.name === preset)!;
  const { kernel, accuracy } = findStage(cluster.profile, shape, 'fused', stack);
  const skew = 'exchanges under skewed traffic are unvalidated';
  if (accuracy === undefined)
    return `profile ${name}: experts by "${kernel}", not fitted to timings; ${skew}`;
  const percent = (share: number) => (100 * share).toFixed(1);
  return (
    `profile ${name}: experts by "${kernel}", error ${percent(accuracy.mape)} % (median ${percent(accuracy.median)} %) ` +
    `on ${accuracy.rows} rows (${accuracy.how}); ${skew}`
  );
}

/**
 * Puts a scenario and the contents of its files together.
 * @param sources what makes the steps of the routing
 * @throws ScenarioError
 */
export function resolveScenario(
  scenario: Scenario,
  file: string,
  contents: ScenarioContents,
  sources: RoutingSources = freshSources,
): ResolvedScenario {
  const shape = resolveModel(scenario, file, contents.modelConfig);
  const cluster = resolveCluster(scenario, file, contents.profile);
  const whole: Machine = { cluster, shape };
  const runtime = resolveRuntime(scenario);
  // A kernel for the model's experts must be known before anything runs.
  attempt(file, 'model.weightDtype', shape.weightDtype, () =>
    findStage(cluster.profile, shape, 'fused', 'serving'),
  );
  attempt(file, 'runtime', runtime.preset, () => createRuntime(runtime, whole));
  const training = resolveTraining(scenario, file);
  if (scenario.scope === 'model') checkWholeModel(shape, runtime, file);
  const contexts = attempt(file, '', scenario.scope, () => contextsOf(scenario, cluster.gpus));
  const policies = resolvePolicies(scenario);
  const notes: string[] = [];
  const source = resolveRouting(scenario, file, whole, policies, contents, sources, notes);
  const precise = resolvePrecision(scenario, file, shape, source.layerIds, contents);
  const machine: Machine = { ...whole, precision: precise?.precision ?? null };
  notes.push(profileNote(machine, runtime), ...trainingNotes(training), ...(precise?.notes ?? []));
  return {
    machine,
    runtime,
    training,
    offload: scenario.offload ?? null,
    source,
    policies,
    warmup: scenario.workload.warmupSteps ?? null,
    resamples: scenario.resamples ?? null,
    seed: scenario.seed,
    faults: (typeof scenario.cluster === 'string' ? undefined : scenario.cluster.faults) ?? [],
    contexts,
    precision: precise?.summary ?? null,
    placementMaps: contents.placements ?? new Map<string, PlacementMap>(),
    sensitivities: new Map(
      [...(contents.sensitivities ?? [])].map(([path, content]) => [
        path,
        parseInput(sensitivitySchema, content, path),
      ]),
    ),
    solver: contents.solver ?? null,
    notes,
  };
}

function resolveRuntime({ runtime }: Scenario): RuntimeOptions {
  if (typeof runtime !== 'string') return runtime;
  return runtimes.find(({ name }) => name === runtime)!.options.parse({ preset: runtime });
}

/** @throws ScenarioError where a phase and its options contradict each other */
function resolveTraining({ training, workload, scope }: Scenario, file: string): TrainingOptions | null {
  if (workload.phase !== 'training') {
    if (training === undefined) return null;
    throw new ScenarioError(
      file,
      'training',
      `options beside workload.phase "${workload.phase}"`,
      'nothing, or workload.phase: "training"',
    );
  }
  const { routing, layer } = workload;
  if (scope === 'model') {
    throw new ScenarioError(
      file,
      'scope',
      'model, of which only inference is simulated',
      'layer in training: the MoE layers of pipeline stages',
    );
  }
  if (routing.kind === 'trace' && routing.batching === 'decode-lockstep') {
    throw new ScenarioError(
      file,
      'workload.routing.batching',
      'decode-lockstep, one token of each sequence',
      'whole sequences or tokens in training: prefill-chunks, shuffled or recorded',
    );
  }
  if (training?.layers !== undefined && layer === 'all') {
    throw new ScenarioError(
      file,
      'training.layers',
      `${training.layers} beside workload.layer "all"`,
      'nothing there (all layers are divided over the stages), or workload.layer: the first layer',
    );
  }
  return training ?? trainingSchema.parse({});
}

/** What a training leaves out. */
function trainingNotes(training: TrainingOptions | null): string[] {
  if (training === null) return [];
  return [
    'training: backward products are derived from the forward kernel, not measured; attention, embeddings, shared ' +
      'experts and the output layer are not simulated, nor convergence',
    ...(training.stages === 1 ? ['training: pipeline not simulated (one stage)'] : []),
  ];
}

/** Indices of the layers that a scenario simulates, of so many. @param named what the layers are called */
function layersOf(
  { workload: { layer }, training, scope }: Scenario,
  file: string,
  layers: number,
  named: string,
): number[] {
  if (layer === 'all' || scope === 'model') return Array.from({ length: layers }, (_, i) => i);
  if (layer >= layers) {
    throw new ScenarioError(file, 'workload.layer', String(layer), `0 to ${layers - 1}${named}, or "all"`);
  }
  const count = (training?.layers ?? 1) * (training?.stages ?? 1);
  if (layer + count > layers) {
    throw new ScenarioError(
      file,
      'training.layers',
      `${count} MoE layers from layer ${layer} on`,
      `at most ${layers - layer} (training.layers times training.stages)`,
    );
  }
  return Array.from({ length: count }, (_, i) => layer + i);
}

/** The listed policies, then `ep` and `balanced` as anchors where they are not listed. */
function resolvePolicies({ policies }: Scenario): ResolvedScenario['policies'] {
  const listed = policies.map((policy) => ({
    options: typeof policy === 'string' ? defaultsOf(policy) : policy,
    anchor: false,
  }));
  for (const kind of ['ep', 'balanced'] as const) {
    if (!listed.some(({ options }) => options.kind === kind))
      listed.push({ options: defaultsOf(kind), anchor: true });
  }
  return listed;
}

function defaultsOf(kind: PolicyOptions['kind']): PolicyOptions {
  return knownPolicies.find((policy) => policy.kind === kind)!.options.parse({ kind });
}

function resolveRouting(
  scenario: Scenario,
  file: string,
  machine: Machine,
  policies: ResolvedScenario['policies'],
  { trace, twin }: ScenarioContents,
  sources: RoutingSources,
  notes: string[],
): RoutingSource {
  const { pruning } = scenario.workload;
  const source = resolveUnpruned(scenario, file, machine, policies, { trace, twin }, sources, notes);
  if (pruning === undefined) return source;
  return attempt(file, 'workload.pruning', pruning.kind, () => prunedSource(source, pruning, scenario.seed));
}

function resolveUnpruned(
  scenario: Scenario,
  file: string,
  machine: Machine,
  policies: ResolvedScenario['policies'],
  { trace, twin }: ScenarioContents,
  sources: RoutingSources,
  notes: string[],
): RoutingSource {
  const { routing } = scenario.workload;
  if (routing.kind === 'twin') return resolveTwin(scenario, routing, file, machine, policies, twin, notes);
  if (routing.kind !== 'trace') {
    return resolveGenerator(scenario, routing, file, machine, policies, sources, notes);
  }
  const { topK } = machine.shape;
  if (routing.candidates) checkCandidates(trace!, topK, file, routing.path);
  const header = routing.candidates ? { ...trace!.header, topK } : trace!.header;
  checkTraceModel(header, machine.shape, file, routing.path, 'a recording');
  return resolveTrace(scenario, routing, file, machine, policies, trace!, sources, notes);
}

function resolveGenerator(
  scenario: Scenario,
  routing: GeneratorOptions,
  file: string,
  { cluster, shape }: Machine,
  policies: ResolvedScenario['policies'],
  sources: RoutingSources,
  notes: string[],
): RoutingSource {
  const { workload, training, seed } = scenario;
  const { tokens } = workload;
  const { tokensPerGpu, steps } = generatedSize(workload, file);
  const layerIds = layersOf(scenario, file, shape.moeLayers, '');
  const tokensBySource = attempt(file, 'workload.tokens', tokens, () =>
    tokensOf(tokens, tokensPerGpu, cluster.gpus, seed),
  );
  const redrawn = 'redraw' in routing && routing.redraw === 'step';
  const fixed = routing.kind === 'hot-experts' && routing.pattern === 'llep';
  if (redrawn && !fixed && policies.some(({ options }) => policyOf(options).sees(options) === 'history')) {
    notes.push(
      "redraw 'step': experts change their popularity in every step, so policies that plan from history see " +
        "nothing of use; redraw: 'run' keeps it",
    );
  }
  if ('redraw' in routing && !redrawn && !fixed) {
    notes.push(
      "redraw 'run': popularity is drawn once; other seeds give other loads, which no interval here holds",
    );
  }
  return attempt(file, 'workload.routing', routing, () =>
    sources.generated({
      options: routing,
      setting: {
        gpus: cluster.gpus,
        experts: shape.experts,
        topK: shape.topK,
        routerGroups: shape.routerGroups,
        topGroups: shape.topGroups,
        tokensPerGpu,
        tokensBySource,
      },
      layerIds,
      steps: steps * (training?.microBatches ?? 1),
      seed,
    }),
  );
}

/** Tokens by source GPU; undefined: all the same. */
function tokensOf(
  tokens: Scenario['workload']['tokens'],
  tokensPerGpu: number,
  gpus: number,
  seed: number | string,
): Int32Array | undefined {
  if (tokens === undefined) return undefined;
  if (Array.isArray(tokens) && tokens.every((own) => own === 0)) {
    throw new RangeError('found no token on any GPU, allowed: at least one');
  }
  if (!Array.isArray(tokens)) return perGpu({ mean: tokensPerGpu, cv: tokens.cv }, gpus, seed, 'tokens');
  if (meanOf(tokens) !== tokensPerGpu) {
    throw new RangeError(
      `found a list of mean ${meanOf(tokens)}, allowed: that of tokensPerGpu (${tokensPerGpu}), or no tokensPerGpu`,
    );
  }
  return perGpu(tokens, gpus, seed, 'tokens');
}

/** Rounded to whole tokens, at least one. */
function meanOf(tokens: readonly number[]): number {
  return Math.max(1, Math.round(tokens.reduce((sum, own) => sum + own, 0) / Math.max(1, tokens.length)));
}

/** @throws ScenarioError where the workload does not say it: generated routing has no size of its own */
function generatedSize({ steps, tokens, ...workload }: Scenario['workload'], file: string) {
  const tokensPerGpu = workload.tokensPerGpu ?? (Array.isArray(tokens) ? meanOf(tokens) : undefined);
  if (tokensPerGpu !== undefined && steps !== undefined) return { tokensPerGpu, steps };
  const missing = tokensPerGpu === undefined ? 'tokensPerGpu' : 'steps';
  throw new ScenarioError(
    file,
    `workload.${missing}`,
    'nothing',
    'a whole number ≥ 1: generated routing has no size of its own',
  );
}

/** A model that scope `model` has all of, and that the groups of a runtime can divide. @throws ScenarioError */
function checkWholeModel(shape: MoeShape, runtime: RuntimeOptions, file: string): void {
  const model = attempt(file, 'model', shape.name, () => wholeModel(shape));
  const size = 'attentionTensorParallel' in runtime ? runtime.attentionTensorParallel : 1;
  attempt(file, 'runtime.attentionTensorParallel', String(size), () => slicedModel(model, size));
}

function resolveTwin(
  { workload, seed, scope, training }: Scenario,
  { path, batching }: TwinOptions,
  file: string,
  { cluster, shape }: Machine,
  policies: ResolvedScenario['policies'],
  content: unknown,
  notes: string[],
): RoutingSource {
  const twin = parseInput(twinSchema, content, path);
  checkTraceModel(twin, shape, file, path, 'a twin');
  if (training !== undefined || workload.phase === 'training') {
    throw new ScenarioError(file, 'workload.routing.kind', 'twin', 'a recording or a generator in training');
  }
  if (workload.tokens !== undefined) {
    throw new ScenarioError(
      file,
      'workload.tokens',
      'tokens of each GPU',
      'nothing with a twin: its batching says which tokens are whose',
    );
  }
  const { phase } = workload;
  const layer = scope === 'model' ? 'all' : workload.layer;
  const { tokensPerGpu, steps } = generatedSize(workload, file);
  if (layer !== 'all' && layer >= twin.layerIds.length) {
    throw new ScenarioError(
      file,
      'workload.layer',
      String(layer),
      `0 to ${twin.layerIds.length - 1} (the twin's layers ${twin.layerIds.join(', ')}), or "all"`,
    );
  }
  if (twin.phase !== undefined && twin.phase !== phase)
    notes.push(`the twin's recording is a ${twin.phase}, the scenario a ${phase}: its routing may differ`);
  const layers = layer === 'all' ? twin.layerIds.map((_, i) => i) : [layer];
  const share = calibrationShareOf(policies, workload);
  const longest = Math.max(...twin.profiles.map(({ tokens }) => tokens));
  const batch = cluster.gpus * tokensPerGpu;
  // What of a sequence may be left over at the end of the calibration part and of every lane that reads sequences.
  const lanes = { shuffled: 0, 'prefill-chunks': cluster.gpus, 'decode-lockstep': batch }[batching];
  const tokens = Math.ceil((steps * batch + lanes * longest) / (1 - share)) + 2 * longest;
  return attempt(path, '', '', () =>
    freshSources.replayed(twinTrace(twin, { layers, tokens, seed }), {
      gpus: cluster.gpus,
      tokensPerGpu,
      steps,
      layers: layers.map((_, i) => i),
      batching,
      resample: false,
      padding: false,
      phase: null,
      calibrationShare: share,
      seed,
    }),
  );
}

/** The largest share of the tokens that a policy, or the pruning, asks for to calibrate on. */
function calibrationShareOf(
  policies: ResolvedScenario['policies'],
  { pruning }: Scenario['workload'],
): number {
  const learned = pruning === undefined ? 0 : pruningOf(pruning).calibrationShare(pruning);
  return Math.max(learned, ...policies.map(({ options }) => policyOf(options).calibrationShare(options)));
}

/** @throws ScenarioError where a recording holds no candidates beside the router's choice */
function checkCandidates(trace: Trace, topK: number, file: string, path: string): void {
  const { header } = trace;
  const found =
    trace.kind === 'counts'
      ? 'counts without tokens'
      : !trace.rows.hasWeights
        ? 'no gate weights'
        : header.topK <= topK
          ? `${header.topK} experts of every token`
          : null;
  if (found === null) return;
  throw new ScenarioError(
    file,
    'workload.routing.candidates',
    `true, but ${path} holds ${found}`,
    `false, or a recording of tokens with gate weights of more than ${topK} experts each`,
  );
}

/** @param what a trace or a twin of one is called in messages */
function checkTraceModel(
  header: Pick<TraceHeader, 'model' | 'experts' | 'topK' | 'layerIds'>,
  shape: MoeShape,
  file: string,
  path: string,
  what: string,
): void {
  const fields = [
    ['experts', header.experts, shape.experts],
    ['top-k', header.topK, shape.topK],
  ] as const;
  for (const [field, recorded, expected] of fields) {
    if (recorded === expected) continue;
    throw new ScenarioError(
      file,
      'workload.routing.path',
      `${path}, ${what} of ${header.model} with ${field} ${recorded}`,
      `${what} of ${shape.name} with ${field} ${expected}`,
    );
  }
  if (header.layerIds.length > shape.moeLayers && shape.moeLayers > 1) {
    throw new ScenarioError(
      file,
      'workload.routing.path',
      `${path}, ${what} of ${header.model} with ${header.layerIds.length} layers`,
      `at most the ${shape.moeLayers} MoE layers of ${shape.name}`,
    );
  }
}

function resolveTrace(
  scenario: Scenario,
  { path, batching, resample, padding, phase: only, part, candidates }: TraceOptions,
  file: string,
  { cluster, shape }: Machine,
  policies: ResolvedScenario['policies'],
  trace: Trace,
  sources: RoutingSources,
  notes: string[],
): RoutingSource {
  const { header } = trace;
  const { workload, training, seed, scope } = scenario;
  const { phase, tokens } = workload;
  if (tokens !== undefined) {
    throw new ScenarioError(
      file,
      'workload.tokens',
      'tokens of each GPU',
      'nothing where a recording is replayed: its batching says which tokens are whose',
    );
  }
  if (scope === 'model' && header.layerIds.length > shape.moeLayers) {
    throw new ScenarioError(
      file,
      'model.moeLayers',
      String(shape.moeLayers),
      `at least the ${header.layerIds.length} layers of the recording, in scope model`,
    );
  }
  const ids = header.layerIds;
  const layers = layersOf(scenario, file, ids.length, ` (the recording's layers ${ids.join(', ')})`);
  // A training reads whole sequences as a prefill does.
  const expected = phase === 'training' ? 'prefill' : phase;
  if (header.phase !== undefined && header.phase !== expected) {
    notes.push(`the recording is a ${header.phase}, the scenario a ${phase}: its routing may differ`);
  }
  const recorded = trace.kind === 'counts' || trace.batches !== null;
  const spec = {
    gpus: cluster.gpus,
    tokensPerGpu: workload.tokensPerGpu ?? null,
    steps: workload.steps === undefined ? null : workload.steps * (training?.microBatches ?? 1),
    layers,
    batching: batching ?? (recorded ? 'recorded' : 'shuffled'),
    resample,
    padding: padding === 'include',
    phase: only ?? null,
    part: part ?? null,
    topK: candidates ? shape.topK : null,
    calibrationShare: calibrationShareOf(policies, workload),
    seed,
  };
  try {
    return sources.replayed(trace, spec);
  } catch (error) {
    if (error instanceof TraceError) throw error.within(`${file}: workload.routing (${path})`);
    throw error;
  }
}

/** Turns a RangeError into a ScenarioError at a path, or at the place inside it that the error names. */
function attempt<T>(file: string, path: string, found: unknown, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const parts = partsOf(error.message, show(found));
    const at = [path, parts.path].filter((part) => part !== '').join('.');
    throw new ScenarioError(file, at, parts.found, parts.allowed);
  }
}
