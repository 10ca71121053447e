import { mean } from 'd3-array';
import { resolve } from 'node:path';
import { readTable } from './files/index.js';
import { bitsOf } from './hardware/index.js';
import { meanInterval, type Interval } from './metrics/index.js';
import { prepareSweep, startSweep } from './open-sweep.js';
import { runSweep } from './run-sweep.js';
import { openScenario } from './run.js';
import { parsePolicy, ScenarioError } from './scenario/index.js';
import {
  defaultSpace,
  dominates,
  flatness,
  halvingRounds,
  objectives,
  optionOf,
  policyWith,
  settingsOf,
  survivors,
  withRoomFor,
  type Finalist,
  type ObjectiveName,
  type Setting,
  type SweepInput,
  type TuneResult,
  type TuneSpace,
} from './sweep/index.js';
import { halvesOf, type Halves } from './tune-halves.js';

/** What to tune. */
export interface TuneRequest {
  policy: string;
  space: TuneSpace;
  /** What to make small, the most important first. */
  minimise: readonly ObjectiveName[];
  /** Seeds of the last round. */
  seeds: number;
  /** Folder that the sweeps of the search are kept in. */
  out: string;
  jobs: number;
  /** Whether to look for the batch from which the policy beats plain EP. */
  breakEven: boolean;
  signal?: AbortSignal;
  /** Called before each part of the search. */
  onPart?: (text: string) => void;
  onPoints?: (count: number) => void;
}

/** Within this much of the best a setting counts as good as it. */
const SLACK = 0.02;

/** Seeds that the recommendation is scored on, and seeds of each batch. */
const FRESH_SEEDS = 8;
const BATCH_SEEDS = 3;

/** A row of a sweep's table. */
type Row = Readonly<Record<string, unknown>>;

/** What one setting did: rows of the policy and of plain EP, seed by seed; null where it failed. */
type Scored = { own: Row[]; ep: Row[]; error: null } | { own: []; ep: []; error: string };

/**
 * Searches a policy's options on a scenario.
 * @param scenario as its file holds it
 * @param file its name, for messages and for the paths in it
 * @throws ScenarioError, TraceError or FileError
 */
export async function tune(scenario: object, file: string, request: TuneRequest): Promise<TuneResult> {
  const search = new TuneSearch(scenario, file, request, await halvesOf(scenario, file));
  return search.run();
}

/**
 * What is tried of a policy on a scenario where nobody says; null where that is not known.
 * @throws ScenarioError, TraceError or FileError
 */
export async function defaultTuneSpace(
  scenario: object,
  file: string,
  policy: string,
): Promise<TuneSpace | null> {
  const { resolved } = await openScenario({ ...scenario, policies: ['ep'] }, { file });
  const { shape, cluster } = resolved.machine;
  return defaultSpace(policy, {
    experts: shape.experts,
    gpus: cluster.gpus,
    weightBits: bitsOf(shape.weightDtype),
  });
}

/** What the search changes of a scenario. */
interface TunedScenario {
  policies?: readonly (string | { kind: string })[];
  workload?: { steps?: number; tokensPerGpu?: number; routing?: object };
  seed?: number | string;
  allowedLoss?: number;
}

class TuneSearch {
  private readonly base: object;
  private readonly columns: string[];
  private readonly defaults: object;

  constructor(
    private readonly scenario: TunedScenario,
    private readonly file: string,
    private readonly request: TuneRequest,
    private readonly halves: Halves | null,
  ) {
    const kindOf = (policy: string | { kind: string }) => (typeof policy === 'string' ? policy : policy.kind);
    const listed = scenario.policies?.find((policy) => kindOf(policy) === request.policy);
    const swept = Object.keys(request.space);
    const complete = (policy: object) => withRoomFor(parsePolicy(policy, '--policy') as object, swept);
    this.base = complete(typeof listed === 'object' ? listed : { kind: request.policy });
    this.defaults = parsePolicy(complete({ kind: request.policy }), '--policy') as object;
    this.columns = request.minimise.map((name) => objectives[name].column);
  }

  async run(): Promise<TuneResult> {
    const { policy, minimise, space, seeds } = this.request;
    const all = settingsOf(space);
    for (const setting of all) parsePolicy(policyWith(this.base, setting, '--over'), '--over');
    const rounds: TuneResult['rounds'] = [];
    let left = all;
    let flat: Record<string, unknown[]> = {};
    const errors: string[] = [];
    let scored: Scored[] = [];
    const plan = halvingRounds(all.length, seeds);
    for (const [i, round] of plan.entries()) {
      const steps = this.stepsOf(round.share);
      rounds.push({ settings: left.length, steps, seeds: round.seeds });
      this.request.onPart?.(`round ${i + 1} of ${plan.length}: ${left.length} settings`);
      scored = await this.score(left, this.seeds('', round.seeds), { steps });
      errors.push(...scored.flatMap(({ error }) => (error === null ? [] : [error])));
      const ran = left.map((_, at) => at).filter((at) => scored[at].error === null);
      if (ran.length === 0)
        throw new ScenarioError(this.file, 'policies', errors[0], 'a policy that can run here');
      [left, scored] = [ran.map((at) => left[at]), ran.map((at) => scored[at])];
      const means = scored.map(({ own }) => this.columns.map((column) => meanOf(own, column)));
      if (i === 0) {
        flat = flatness(
          left,
          means.map(([first]) => first),
          SLACK,
        );
      }
      if (round.keep === 0) break;
      const kept = survivors(
        means,
        left.map((setting) => this.changes(setting)),
        round.keep,
      );
      left = kept.map((at) => left[at]);
    }
    const finalists = this.finalists(left, scored);
    const best = finalists.find(({ refused }) => refused === null) ?? null;
    const next = finalists.find((other) => other !== best && other.refused === null) ?? null;
    const recommended = best === null ? null : await this.scoreAnew(best.setting, next?.setting ?? null);
    return {
      policy,
      minimise,
      tried: all.length,
      failed: errors.length === 0 ? null : { count: errors.length, error: errors[0] },
      rounds,
      finalists,
      recommended,
      flat,
      batches: best === null || !this.request.breakEven ? [] : await this.overBatches(best.setting),
      heldOut: this.halves !== null,
      seedsMatter: scored.some(({ own }) => new Set(own.map((row) => row.step_mean_s)).size > 1),
    };
  }

  /** Those of the last round, the best by the first objective first; what may not be recommended last. */
  private finalists(settings: readonly Setting[], scored: readonly Scored[]): Finalist[] {
    const means = scored.map(({ own }) => this.columns.map((column) => meanOf(own, column)));
    const finalists = settings.map((setting, i): Finalist => ({
      setting,
      scores: this.columns.map((column) => meanInterval(numbers(scored[i].own, column))),
      speedup: ratioOf(scored[i].ep, scored[i].own, 'step_mean_s'),
      onFront: !means.some((other) => dominates(other, means[i])),
      refused: this.refusal(scored[i].own),
    }));
    const order = (finalist: Finalist) => (finalist.refused === null ? 0 : 1);
    return finalists.sort(
      (a, b) =>
        order(a) - order(b) ||
        a.scores[0].mean - b.scores[0].mean ||
        this.changes(a.setting) - this.changes(b.setting),
    );
  }

  private refusal(rows: readonly Row[]): string | null {
    if (rows.some((row) => row.memory_verdict === 'does not fit')) return 'does not fit';
    const loss = Math.max(...numbers(rows, 'loss_share'));
    return loss > (this.scenario.allowedLoss ?? 0)
      ? `loses ${(100 * loss).toFixed(1)} % of the copies`
      : null;
  }

  /**
   * Scores the best setting beside the next best and the policy's defaults, on seeds that no round has seen, and on
   * the other half of a recording.
   */
  private async scoreAnew(
    setting: Setting,
    next: Setting | null,
  ): Promise<NonNullable<TuneResult['recommended']>> {
    this.request.onPart?.(`the best setting on ${FRESH_SEEDS} fresh seeds`);
    const plain = Object.fromEntries(
      Object.keys(setting).map((option) => [option, optionOf(this.defaults, option)]),
    );
    const settings = [setting, plain, ...(next === null ? [] : [next])];
    const [own, byDefault, nextBest] = await this.score(settings, this.seeds('/fresh', FRESH_SEEDS), {
      steps: this.stepsOf(1),
      part: this.halves?.score,
    });
    const [first] = this.columns;
    return {
      setting,
      seeds: FRESH_SEEDS,
      speedup: ratioOf(own.ep, own.own, 'step_mean_s'),
      gatedShare: meanOf(own.own, 'gated_share'),
      overDefaults: ratioOf(byDefault.own, own.own, first),
      overNext: nextBest === undefined ? null : ratioOf(nextBest.own, own.own, first),
    };
  }

  /** The speed-up of a setting over batches from a 64th to eight times that of the scenario. */
  private async overBatches(setting: Setting): Promise<TuneResult['batches']> {
    const batch = this.scenario.workload?.tokensPerGpu;
    if (batch === undefined) return [];
    const factors = Array.from({ length: 10 }, (_, i) => 2 ** (i - 6));
    const batches = [...new Set(factors.map((factor) => Math.round(batch * factor)))].filter(
      (tokens) => tokens >= 1 && tokens <= 1_048_576,
    );
    this.request.onPart?.(`${batches.length} batches`);
    // Batches take the place of settings, so that they are one sweep.
    const settings = batches.map(() => setting);
    const scored = await this.score(settings, this.seeds('/batch', BATCH_SEEDS), {
      steps: this.stepsOf(1),
      batches,
    });
    return scored.flatMap(({ own, ep, error }, i) =>
      error === null ? [{ tokensPerGpu: batches[i], speedup: ratioOf(ep, own, 'step_mean_s') }] : [],
    );
  }

  /** How many options of a setting differ from the policy's defaults. */
  private changes(setting: Setting): number {
    return Object.entries(setting).filter(([option, value]) => value !== optionOf(this.defaults, option))
      .length;
  }

  private stepsOf(share: number): number | null {
    const { workload } = this.scenario;
    const held = this.halves?.steps ?? Infinity;
    const steps = Math.min(workload?.steps ?? Infinity, held);
    return steps === Infinity ? null : Math.min(steps, Math.max(2, Math.ceil(steps * share)));
  }

  private seeds(use: string, count: number): (number | string)[] {
    const { seed = 1 } = this.scenario;
    return Array.from({ length: count }, (_, i) =>
      use === '' && typeof seed === 'number' ? seed + i : `${seed}${use}/${i}`,
    );
  }

  /** Runs settings (beside plain EP) as a sweep, which is kept, so that nothing is computed twice. */
  private async score(
    settings: readonly Setting[],
    seeds: readonly (number | string)[],
    {
      steps,
      batches,
      part = this.halves?.search,
    }: { steps: number | null; batches?: readonly number[]; part?: Halves['search'] },
  ): Promise<Scored[]> {
    const paths = Object.keys(settings[0]).map((option) => ({
      path: `policies[1].${option}`,
      values: settings.map((setting) => setting[option]),
    }));
    if (batches) paths.push({ path: 'workload.tokensPerGpu', values: [...batches] });
    const axes = paths.map(({ path, values }) => ({ kind: 'list', path, values }));
    const workload = {
      ...this.scenario.workload,
      ...(steps === null ? {} : { steps }),
      ...(part && { routing: { ...this.scenario.workload?.routing, part } }),
    };
    const sweep = {
      name: `tune ${this.request.policy}`,
      scenario: { ...this.scenario, workload, policies: ['ep', this.base], resamples: 0 },
      axes: axes.length === 1 ? axes : [{ kind: 'zip', axes }],
      seeds: [...seeds],
    } as SweepInput;
    const { out, jobs, signal, onPoints } = this.request;
    const started = await startSweep(await prepareSweep(sweep, this.file), resolve(out), false);
    if (!started.folder.hasTable()) {
      await runSweep(started, { jobs, signal, onPoints });
    }
    const columns = [
      'point',
      'policy_index',
      'error',
      'step_mean_s',
      'memory_verdict',
      'gated_share',
      'loss_share',
      ...this.columns,
    ];
    const rows = await readTable(started.folder.table.parquet, [...new Set(columns)]);
    const scored = settings.map((): { own: Row[]; ep: Row[]; error: string | null } => ({
      own: [],
      ep: [],
      error: null,
    }));
    for (const row of rows) {
      const of = scored[Math.floor(Number(row.point) / seeds.length)];
      if (row.error !== null) of.error = row.error as string;
      else if (row.policy_index === 0) of.ep.push(row);
      else if (row.policy_index === 1) of.own.push(row);
    }
    return scored.map(({ own, ep, error }) =>
      error === null ? { own, ep, error } : { own: [], ep: [], error },
    );
  }
}

function numbers(rows: readonly Row[], column: string): number[] {
  return rows.map((row) => row[column] as number);
}

function meanOf(rows: readonly Row[], column: string): number {
  return mean(numbers(rows, column))!;
}

/** The ratio of a column of two runs over the same seeds: geometric mean and interval of the paired log-ratios. */
function ratioOf(above: readonly Row[], below: readonly Row[], column: string): Interval {
  const [a, b] = [numbers(above, column), numbers(below, column)];
  const { mean, low, high } = meanInterval(a.map((value, i) => Math.log(value / b[i])));
  const back = (log: number | null) => (log === null ? null : Math.exp(log));
  return { mean: Math.exp(mean), low: back(low), high: back(high) };
}
