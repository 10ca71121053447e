import { dirname, relative, resolve } from 'node:path';
import {
  heldOut,
  isInputRefusal,
  largestBatch,
  partOf,
  questions,
  SCORED,
  Unanswerable,
} from './advice/index.js';
import type { Advice, Advised, Desk, Offline, Part, Question, Ran, Variant } from './advice/index.js';
import {
  isYardstick,
  mapFormats,
  policyOf,
  readPlacementMap,
  type PlacementMap,
  type PolicyInput,
  type PolicyOptions,
} from './balancing/index.js';
import { expertBytes } from './execution/index.js';
import { FileCache } from './files/index.js';
import { bitsOf } from './hardware/index.js';
import { kvBytes, layersOf, wholeModel, type MoeShape } from './model/index.js';
import { TraceError } from './routing/index.js';
import { inFile, openScenario, runOpened, type OpenedScenario } from './run.js';
import { setPath, setValue, parsePath, ScenarioError } from './scenario/index.js';
import { firstPlacements } from './simulation/index.js';
import { VERSION } from './version.js';

/** What to advise on. */
export interface AdviceRequest {
  /** Changes of the scenario that were asked for on the command line, as path=value. */
  set: readonly string[];
  /** Names of the questions to answer; empty: all. */
  only: readonly string[];
  /** Path of another trace, from the working folder; null: none. */
  other: string | null;
  /** Called before each question. */
  onQuestion?: (question: Question) => void;
}

/**
 * Answers the questions that users ask of a scenario.
 * @param scenario as its file holds it
 * @param file its name, for messages, for the paths in it and for the commands that repeat runs
 * @throws ScenarioError, TraceError or FileError where the scenario itself can't run
 */
export async function advise(scenario: object, file: string, request: AdviceRequest): Promise<Advice> {
  const input = request.set.reduce<unknown>((changed, assignment) => setPath(changed, assignment), scenario);
  const files = new FileCache();
  const opened = await openScenario(input, { file, files });
  const { phase } = opened.scenario.workload;
  if (phase === 'training') {
    throw new ScenarioError(file, 'workload.phase', phase, 'prefill or decode: advice is about inference');
  }
  if (opened.resolved.offload !== null) {
    throw new ScenarioError(file, 'offload', 'offload', 'nothing in advice: epsim run shows it');
  }
  const office = new Office(input as object, file, request, files, opened);
  const asked = questions.filter(({ name }) => request.only.length === 0 || request.only.includes(name));
  const answered: Advised[] = [];
  for (const question of asked) {
    request.onQuestion?.(question);
    answered.push(await office.ask(question));
  }
  return {
    schema: 'epsim/advice@1',
    version: VERSION,
    scenario: input as Advice['scenario'],
    heldOut: heldOut(opened.scenario.workload.routing.kind),
    questions: answered,
  };
}

/** What is known while a question is being answered. */
interface Visit {
  /** Of its runs; null before the first. */
  tokensPerGpu: number | null;
  notes: Set<string>;
}

/** Makes the runs that questions ask for, each once. */
class Office {
  private readonly ran = new Map<string, Ran>();

  constructor(
    private readonly input: object,
    private readonly file: string,
    private readonly request: AdviceRequest,
    private readonly files: FileCache,
    private readonly opened: OpenedScenario,
  ) {}

  async ask(question: Question): Promise<Advised> {
    const { name, asks } = question;
    const visit: Visit = { tokensPerGpu: null, notes: new Set() };
    try {
      const answer = await question.answer(this.deskFor(visit));
      return { name, asks, notes: [...visit.notes], answer, because: null };
    } catch (error) {
      if (!isInputRefusal(error)) throw error;
      return { name, asks, notes: [], answer: null, because: error.message };
    }
  }

  private deskFor(visit: Visit): Desk {
    const { scenario, resolved } = this.opened;
    const { machine, runtime, source, policies } = resolved;
    const { shape, cluster } = machine;
    return {
      shape,
      gpus: cluster.gpus,
      gpusPerNode: cluster.gpusPerNode,
      layers: source.layerIds.length,
      phase: scenario.workload.phase as Desk['phase'],
      tokensPerGpu: source.tokensPerGpu,
      routing: scenario.workload.routing.kind,
      scope: scenario.scope,
      runtime,
      listed: policies
        .filter(({ options, anchor }) => isCandidate(options, anchor))
        .map(({ options }) => options),
      expertBytes: expertBytes(machine, bitsOf(shape.weightDtype)),
      cacheBytesPerToken: cacheBytesPerToken(shape),
      other: this.request.other,
      choose: (variant) => this.run(variant, this.part('choose', variant), visit),
      score: (variant) => this.run(variant, this.part('score', variant), visit),
      scoreOnOther: (policiesOf) => this.runOnOther(policiesOf, visit),
    };
  }

  private part(use: 'choose' | 'score', variant: Variant): Part {
    const { workload, cluster, seed } = this.opened.scenario;
    return partOf(use, variant, {
      routing: workload.routing.kind,
      steps: workload.steps,
      seed,
      hasFaults: typeof cluster === 'object' && (cluster.faults ?? []).length > 0,
    });
  }

  private async run(variant: Variant, part: Part, visit: Visit): Promise<Ran> {
    const policies = variant.policies(part.offline);
    const set = { ...variant.set, ...part.set };
    const { maps } = variant;
    Object.assign(set, await this.batch(set, policies, maps, visit));
    if (!('workload.steps' in set)) Object.assign(set, await this.steps(set, policies, maps));
    const ran = await this.ranOf(set, policies, maps);
    for (const note of ran.result.routing.notes) visit.notes.add(note);
    return ran;
  }

  private async ranOf(
    set: Record<string, unknown>,
    policies: PolicyInput[],
    maps: Variant['maps'],
  ): Promise<Ran> {
    const command = this.command(set, policies);
    const known = this.ran.get(command);
    if (known !== undefined) return known;
    const opened = await this.open({ ...this.changed(set), policies }, maps);
    const ran = { result: runOpened(opened, undefined, { metrics: { window: null } }).result, command };
    this.ran.set(command, ran);
    return ran;
  }

  /**
   * The scenario's tokens per GPU, or as many as the part of its recording allows. All runs of a question have those of
   * its first one, so that they can be compared.
   */
  private async batch(
    set: Record<string, unknown>,
    policies: readonly PolicyInput[],
    maps: Variant['maps'],
    visit: Visit,
  ): Promise<Record<string, number>> {
    const { routing, tokensPerGpu: wanted } = this.opened.scenario.workload;
    if (routing.kind !== 'trace' || routing.resample) return {};
    if (wanted === undefined || 'workload.tokensPerGpu' in set) return {};
    const setting = (tokens: number): Record<string, number> =>
      tokens === wanted ? {} : { 'workload.tokensPerGpu': tokens };
    if (visit.tokensPerGpu !== null) return setting(visit.tokensPerGpu);
    let refusal: unknown;
    const tokens = await largestBatch(wanted, async (tried) => {
      try {
        await this.steps({ ...set, ...setting(tried) }, policies, maps);
        return true;
      } catch (error) {
        if (!(error instanceof TraceError)) throw error;
        refusal ??= error;
        return false;
      }
    });
    if (tokens === null) throw refusal;
    visit.tokensPerGpu = tokens;
    if (tokens < wanted) {
      visit.notes.add(
        `simulated at ${tokens} of the scenario's ${wanted} tokens per GPU: the parts of the recording that this divides it into allow no more`,
      );
    }
    return setting(tokens);
  }

  /** As many steps as the scenario has, or as the part of its recording holds. */
  private async steps(
    set: Record<string, unknown>,
    policies: readonly PolicyInput[],
    maps: Variant['maps'],
  ): Promise<Record<string, number>> {
    const { workload } = this.opened.scenario;
    if (workload.routing.kind !== 'trace' || workload.routing.resample) return {};
    const changed = this.changed(set) as { workload: object };
    const opened = await this.open(
      { ...changed, policies, workload: { ...changed.workload, steps: undefined } },
      maps,
    );
    const held = opened.resolved.source.steps;
    return { 'workload.steps': Math.min(workload.steps ?? held, held) };
  }

  private changed(set: Readonly<Record<string, unknown>>): object {
    return Object.entries(set).reduce<unknown>(
      (input, [path, value]) => setValue(input, parsePath(path, '--set'), value, '--set'),
      this.input,
    ) as object;
  }

  private async open(
    input: object,
    placementMaps?: ReadonlyMap<string, PlacementMap>,
  ): Promise<OpenedScenario> {
    const { file, files } = this;
    return openScenario(input, { file, files, placementMaps });
  }

  /** Plans EPLB on this recording's first half, and runs its placement on another one's second half. */
  private async runOnOther(
    policiesOf: (offline: Offline, map: string) => PolicyInput[],
    visit: Visit,
  ): Promise<Ran> {
    await this.checkOther();
    const policy: PolicyInput = { kind: 'eplb', history: SCORED };
    const set = await this.batch({}, [policy], undefined, visit);
    Object.assign(set, await this.steps(set, [policy], undefined));
    const here = await this.open({ ...this.changed(set), policies: [policy] });
    const [{ options }] = here.resolved.policies;
    const placed = inFile(this.file, () => firstPlacements(here.resolved, options));
    // What a file keeps of a placement, so that the command gives the same figures.
    const text = mapFormats.find(({ name }) => name === 'sglang')!.write(placed);
    const map = await readPlacementMap(new TextEncoder().encode(text).buffer);
    const name = 'planned-here.json';
    const folder = dirname(this.file);
    const path = relative(folder, resolve(this.request.other!)) || '.';
    const variant: Variant = {
      set: { 'workload.routing.path': path },
      policies: (own) => policiesOf(own, name),
      maps: new Map([[name, map]]),
    };
    const ran = await this.run(variant, this.part('score', variant), visit);
    const plan =
      `epsim plan ${quoted(this.file)} ${this.sets(set)}--policy ${quoted(JSON.stringify(policy))} --emit sglang > ` +
      quoted(relative('.', resolve(folder, name)));
    return { result: ran.result, command: `${plan} && ${ran.command}` };
  }

  /** @throws Unanswerable where the other trace is this one, wherever it lies */
  private async checkOther(): Promise<void> {
    const { routing } = this.opened.scenario.workload;
    if (routing.kind !== 'trace') return;
    const { topK } = this.opened.resolved.machine.shape;
    const here = await this.files.trace(routing.path, dirname(this.file), topK);
    const other = await this.files.trace(this.request.other!, '.', topK);
    if (here.sha256 !== other.sha256) return;
    throw new Unanswerable(
      "the other trace is the scenario's own recording, which says nothing of another; redundancy scores on the rest of it",
    );
  }

  private command(set: Readonly<Record<string, unknown>>, policies: readonly PolicyInput[]): string {
    const run = policies.map(
      (policy) => `--policy ${quoted(typeof policy === 'string' ? policy : JSON.stringify(policy))}`,
    );
    return `epsim run ${quoted(this.file)} ${this.sets(set)}${run.join(' ')} --metrics`;
  }

  /** Options that change the scenario, those of the command line first. */
  private sets(set: Readonly<Record<string, unknown>>): string {
    const own = Object.entries(set).map(([path, value]) => `${path}=${JSON.stringify(value)}`);
    return [...this.request.set, ...own].map((assignment) => `--set ${quoted(assignment)} `).join('');
  }
}

/** Something to run, of the scenario's own list. */
function isCandidate(options: PolicyOptions, anchor: boolean): boolean {
  return !anchor && options.kind !== 'ep' && !isYardstick(options) && policyOf(options).exact(options);
}

/** null where the shape does not say what its attention is. */
function cacheBytesPerToken(shape: MoeShape): number | null {
  try {
    const model = wholeModel(shape);
    const layers = layersOf(model);
    const full = layers.filter(({ windowed }) => !windowed).length;
    return kvBytes(model) * (full > 0 ? full : layers.length);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** A word of a shell's command line. */
function quoted(word: string): string {
  return /^[\w./=:,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
