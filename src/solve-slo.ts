import { policyLabel } from './balancing/index.js';
import { FileCache } from './files/index.js';
import { lossOf } from './report/index.js';
import { openScenario, runOpened } from './run.js';
import { ScenarioError } from './scenario/index.js';
import type { PolicyResult, Result } from './simulation/index.js';
import {
  largestFeasible,
  type SloBound,
  type SloChoice,
  type SloLimits,
  type SloResult,
} from './sweep/index.js';

/** What to look for. */
export interface SloRequest {
  limits: SloLimits;
  /** The only kind of policy to look at beside `ep`; null: all of the scenario. */
  policy: string | null;
  /** Called before each batch that is simulated. */
  onBatch?: (tokensPerGpu: number) => void;
}

/** The largest batch that is tried: what a scenario may ask for. */
const MOST = 1_048_576;

/** What the search changes of a scenario. */
interface SloScenario {
  workload?: { phase?: string; tokensPerGpu?: number; tokens?: unknown; kvTokens?: KvTokens };
  policies?: readonly (string | { kind: string })[];
  scope?: string;
  allowedLoss?: number;
}

type KvTokens = number | number[] | { mean: number; cv: number };

/**
 * For every policy of a scenario, the largest batch whose steps keep a latency limit and whose memory fits with the
 * worst credible step. In decode the KV cache grows with the batch: every sequence keeps its length.
 * @param scenario as its file holds it
 * @param file its name, for messages and for the paths in it
 * @throws ScenarioError, TraceError or FileError
 */
export async function solveSlo(scenario: object, file: string, request: SloRequest): Promise<SloResult> {
  const solver = new SloSolver(scenario, file, request);
  return solver.solve();
}

class SloSolver {
  private readonly results = new Map<number, Promise<Result>>();
  private readonly files = new FileCache();
  private readonly from: number;
  private readonly phase: 'prefill' | 'decode';
  private readonly limit: number;

  constructor(
    private readonly scenario: SloScenario,
    private readonly file: string,
    private readonly request: SloRequest,
  ) {
    const { workload, scope } = scenario;
    if (scope !== 'model') {
      throw new ScenarioError(
        file,
        'scope',
        scope === undefined ? 'nothing' : `'${scope}'`,
        '"model" under --slo',
      );
    }
    if (workload?.tokensPerGpu === undefined || Array.isArray(workload.tokens)) {
      throw new ScenarioError(
        file,
        'workload.tokensPerGpu',
        'no batch that can be changed',
        'the tokens of every GPU that the search starts from, under --slo',
      );
    }
    this.from = workload.tokensPerGpu;
    this.phase = workload.phase === 'prefill' ? 'prefill' : 'decode';
    const name = this.phase === 'prefill' ? 'ttft' : 'tpot';
    const limit = request.limits[name];
    if (limit === null) {
      throw new ScenarioError(file, 'workload.phase', `'${this.phase}' without a limit`, `--slo ${name}=…`);
    }
    this.limit = limit;
  }

  async solve(): Promise<SloResult> {
    const { limits } = this.request;
    const { policies } = await this.at(this.from);
    const choices: SloChoice[] = [];
    for (let i = 0; i < policies.length; i++) choices.push(await this.choiceOf(i, policies[i]));
    const speed = ({ best }: SloChoice) => best?.tokensPerSecondPerGpu.mean ?? 0;
    const other = this.phase === 'prefill' ? 'tpot' : 'ttft';
    return {
      phase: this.phase,
      limit: this.limit,
      unused: limits[other] === null ? null : other,
      choices: choices.sort((a, b) => speed(b) - speed(a)),
      allowedLoss: this.scenario.allowedLoss ?? 0,
      tried: [...this.results.keys()].sort((a, b) => a - b),
    };
  }

  private async choiceOf(index: number, { policy, exact, anchor }: PolicyResult): Promise<SloChoice> {
    const batch = await largestFeasible(
      async (tokens) => (await this.obstacle(index, tokens)) === null,
      this.from,
      MOST,
    );
    const next = batch === MOST ? null : await this.nextObstacle(index, batch);
    const found = batch === 0 ? null : (await this.at(batch)).policies[index];
    return {
      policy: policyLabel(policy),
      exact,
      anchor,
      loss: found ? lossOf(found) : 0,
      best: found && this.bestOf(found, batch),
      bound: next?.bound ?? 'search',
      because: next?.because ?? `${MOST.toLocaleString('en')} tokens per GPU are the most that is tried`,
    };
  }

  /** What stands in the way of the smallest larger batch that was tried. */
  private async nextObstacle(index: number, batch: number) {
    const larger = [...this.results.keys()].filter((tokens) => tokens > batch).sort((a, b) => a - b);
    for (const tokens of larger) {
      const obstacle = await this.obstacle(index, tokens);
      if (obstacle !== null) return obstacle;
    }
    return null;
  }

  private bestOf(p: PolicyResult, tokensPerGpu: number): SloChoice['best'] {
    const { mean, low, high, p95 } = p.stepLatency;
    const perSecond = p.tokensPerSecondPerGpu;
    return {
      tokensPerGpu,
      stepP95: p95,
      tokensPerSecondPerGpu: {
        mean: perSecond,
        low: (perSecond * mean) / high,
        high: (perSecond * mean) / low,
      },
      costPerMillionTokens: p.serving!.costPerMillionTokens,
      spareKvTokens: p.memory!.kvTokens.room - p.memory!.kvTokens.held,
    };
  }

  /** Why a policy can't run a batch within the limits; null where it can. */
  private async obstacle(
    index: number,
    tokens: number,
  ): Promise<{ bound: SloBound; because: string } | null> {
    let result: Result;
    try {
      result = await this.at(tokens);
    } catch (error) {
      if (!(error instanceof ScenarioError) || tokens === this.from) throw error;
      return { bound: 'refused', because: error.message };
    }
    const { stepLatency, peakMemory, memory } = result.policies[index];
    const { room, held } = memory!.kvTokens;
    const at = `${tokens.toLocaleString('en')} tokens per GPU`;
    if (peakMemory.verdict !== 'fits' || room < held) {
      const why =
        peakMemory.verdict === 'fits' ? 'do not fit in the worst credible step' : peakMemory.verdict;
      return { bound: 'memory', because: `${at}: memory ${why === 'at risk' ? 'is at risk' : why}` };
    }
    if (stepLatency.p95 > this.limit) {
      return { bound: 'latency', because: `${at}: p95 of ${(1e3 * stepLatency.p95).toFixed(1)} ms` };
    }
    return null;
  }

  /** The scenario at another batch, all policies at once. */
  private at(tokensPerGpu: number): Promise<Result> {
    let result = this.results.get(tokensPerGpu);
    if (!result) this.results.set(tokensPerGpu, (result = this.run(tokensPerGpu)));
    return result;
  }

  private async run(tokensPerGpu: number): Promise<Result> {
    const { scenario, file, files, request, phase } = this;
    request.onBatch?.(tokensPerGpu);
    const { kvTokens } = scenario.workload!;
    const kindOf = (policy: string | { kind: string }) => (typeof policy === 'string' ? policy : policy.kind);
    const only = scenario.policies?.filter((policy) => kindOf(policy) === request.policy) ?? [];
    const changed = {
      ...scenario,
      workload: {
        ...scenario.workload,
        tokensPerGpu,
        ...(phase === 'decode' && kvTokens !== undefined
          ? { kvTokens: scaled(kvTokens, tokensPerGpu / this.from) }
          : {}),
      },
      ...(request.policy === null ? {} : { policies: only.length > 0 ? only : [request.policy] }),
      resamples: 0,
    };
    return runOpened(await openScenario(changed, { file, files })).result;
  }
}

/** A KV cache of sequences of the same length, but of more or fewer of them. */
function scaled(kvTokens: KvTokens, by: number): KvTokens {
  if (typeof kvTokens === 'number') return Math.round(kvTokens * by);
  if (Array.isArray(kvTokens)) return kvTokens.map((tokens) => Math.round(tokens * by));
  return { ...kvTokens, mean: Math.round(kvTokens.mean * by) };
}
