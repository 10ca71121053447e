import { z } from 'zod';
import { NO_EXPERT, type CandidateTable, type TokenTable } from '../../routing/index.js';
import { homePlan, type LayerPlan, type Rewrite } from '../plan.js';
import { plainTraits, type Policy, type PolicySetting, type Refusal } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('laser'),
  candidates: z
    .int()
    .min(1)
    .default(12)
    .describe(
      'Best-scored experts that a token may be given to; at most topK of them: the router’s choice stays.',
    ),
  peaked: z
    .number()
    .min(0)
    .default(0.4)
    .describe(
      'Tokens whose topK best scores sum to this or more keep the router’s choice. Above 1: none does.',
    ),
  cutoff: z
    .number()
    .min(0)
    .max(1)
    .default(0.3)
    .describe('Candidates have at least this part of the token’s best score.'),
  loads: z
    .enum(['expert', 'gpu'])
    .default('expert')
    .describe('Least loaded: by the copies of an expert, or of the GPU where it is at home.'),
  staleness: z
    .int()
    .min(0)
    .default(0)
    .describe('Tokens of all GPUs that loads are behind, within a step. 0: every token knows all before it.'),
  memory: z
    .enum(['step', 'run'])
    .default('step')
    .describe('step: loads begin at nothing with every layer of every step; run: they go on.'),
});

type Options = z.output<typeof options>;

export interface State {
  options: Options;
  setting: PolicySetting;
  plan: LayerPlan;
  /** Loads that tokens know, by layer and expert (or GPU). */
  running: Float64Array[];
  rewriter: Rewriter;
}

/**
 * Gives tokens of flat scores to the least loaded of their better candidates (LASER, arXiv 2510.03293, as reviews and a
 * third party's partial code describe it: the paper's own text and parameters were not at hand). Tokens of all GPUs take
 * turns. Inexact: a token is computed by other experts than its router chose.
 */
export const laser: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'laser',
  summary: 'gives tokens of flat scores to the least loaded of their better experts; inexact',
  options,
  exact: ({ peaked }) => peaked === 0,
  sees: () => 'nothing',
  symmetric: false,
  looksAtTokens: () => true,
  refusal,
  trainingRefusal: () => ({
    option: 'kind',
    found: 'laser, which rewrites what the router chose',
    allowed: 'other policies in training: LASER is of inference',
  }),
  notes: ({ staleness }) => [
    'laser: its parameters and details come from reviews and partial code of others; throughput and accuracy of the ' +
      'paper are not simulated, the gate weight that is left is a proxy',
    ...(staleness === 0
      ? [
          'laser: with staleness 0 every token knows the loads of all before it on all GPUs, at no cost: a limit',
        ]
      : []),
  ],
  start(chosen, setting) {
    const { gpus, experts, layers, placement } = setting;
    const unitOf = chosen.loads === 'gpu' ? placement.home : Int32Array.from(placement.home.keys());
    const units = chosen.loads === 'gpu' ? gpus : experts;
    return {
      options: chosen,
      setting,
      plan: homePlan(placement),
      running: Array.from({ length: layers }, () => new Float64Array(units)),
      rewriter: new Rewriter(chosen, setting, unitOf),
    };
  },
  decide(state, { layer, counts, tokens }) {
    const loads = state.running[layer];
    if (state.options.memory === 'step') loads.fill(0);
    state.plan.rewrite = state.rewriter.rewrite(tokens!, counts, loads);
    return { state, plan: state.plan };
  },
};

function refusal(chosen: Options, { candidates, topK }: PolicySetting): Refusal | null {
  if (candidates === undefined) {
    return {
      option: 'kind',
      found: 'laser, but the routing holds scores of the chosen experts only',
      allowed:
        'routing with scores of more experts (workload.routing.kind: gate, or a recording of more choices with candidates: true)',
    };
  }
  if (chosen.candidates < (topK ?? 1)) {
    return {
      option: 'candidates',
      found: `${chosen.candidates} for ${topK} experts of a token`,
      allowed: `at least ${topK}`,
    };
  }
  if (chosen.candidates > Math.max(candidates, topK ?? 1)) {
    return {
      option: 'candidates',
      found: `${chosen.candidates} of ${candidates} experts whose scores are known`,
      allowed: `at most ${candidates}`,
    };
  }
  return null;
}

/** Rewrites token tables; its arrays are reused. */
class Rewriter {
  private readonly home: Int32Array;
  private readonly experts: number;
  private readonly seen: Int32Array;
  private readonly turn: Int32Array;
  private chosen = new Uint16Array(0);
  private order = new Int32Array(0);
  private counts = new Int32Array(0);
  /** Ranks of the candidates of the token at hand, and its copies. */
  private readonly pool: number[] = [];
  private readonly copies: number[] = [];

  constructor(
    private readonly options: Options,
    { gpus, experts, placement }: PolicySetting,
    /** Entry of the loads that an expert's copies count for. */
    private readonly unitOf: Int32Array,
  ) {
    this.home = placement.home;
    this.experts = experts;
    this.seen = new Int32Array(gpus);
    this.turn = new Int32Array(gpus + 1);
  }

  /** @param loads known before the batch; brought up to date with it */
  rewrite(table: TokenTable, routed: Int32Array, loads: Float64Array): Rewrite {
    const { count, topK, source, experts } = table;
    const candidates = table.candidates!;
    if (this.chosen.length !== count * topK) this.chosen = new Uint16Array(count * topK);
    if (this.counts.length !== routed.length) this.counts = new Int32Array(routed.length);
    const { chosen, counts } = this;
    chosen.set(experts);
    const behind = this.options.staleness + 1;
    const order = this.turns(table);
    for (let turn = 0; turn < count + behind; turn++) {
      if (turn >= behind) this.learn(chosen, order[turn - behind], topK, loads);
      if (turn < count) this.choose(table, candidates, order[turn], loads);
    }
    counts.fill(0);
    for (let copy = 0; copy < count * topK; copy++) {
      if (chosen[copy] === NO_EXPERT) continue;
      counts[source[Math.floor(copy / topK)] * this.experts + chosen[copy]]++;
    }
    // Gate weights are of the experts that the router chose.
    const tokens = { count, topK, source, experts: chosen, weights: null };
    return { counts, tokens, ...this.changes(table, candidates) };
  }

  /** Tokens in the order in which they choose: the first of every GPU, then the second ones, and so on. */
  private turns({ count, source }: TokenTable): Int32Array {
    const place = new Int32Array(count);
    const next = this.turn.fill(0);
    let most = 0;
    for (let token = 0; token < count; token++) most = Math.max(most, (place[token] = next[source[token]]++));
    const starts = new Int32Array(most + 2);
    for (let token = 0; token < count; token++) starts[place[token] + 1]++;
    for (let at = 0; at <= most; at++) starts[at + 1] += starts[at];
    if (this.order.length !== count) this.order = new Int32Array(count);
    for (let token = 0; token < count; token++) this.order[starts[place[token]]++] = token;
    return this.order;
  }

  /** Adds a token's copies to the loads. */
  private learn(chosen: Uint16Array, token: number, topK: number, loads: Float64Array): void {
    for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
      if (chosen[copy] !== NO_EXPERT) loads[this.unitOf[chosen[copy]]]++;
    }
  }

  /** Chooses a token's experts anew where its scores are flat: as many as its router chose and nobody pruned. */
  private choose(
    { topK, experts: routed }: TokenTable,
    { experts, scores, count }: CandidateTable,
    token: number,
    loads: Float64Array,
  ): void {
    const { candidates, peaked, cutoff } = this.options;
    const { pool, copies, unitOf, chosen } = this;
    copies.length = 0;
    for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
      if (routed[copy] !== NO_EXPERT) copies.push(copy);
    }
    const best = token * count;
    const most = Math.min(candidates, count);
    if (most <= copies.length) return;
    let mass = 0;
    for (let rank = 0; rank < copies.length; rank++) mass += scores[best + rank];
    if (mass >= peaked) return;
    pool.length = 0;
    for (let rank = 0; rank < most && scores[best + rank] >= cutoff * scores[best]; rank++) pool.push(rank);
    if (pool.length <= copies.length) return;
    // Of equal loads the better score goes first.
    const loadOf = (rank: number) => loads[unitOf[experts[best + rank]]];
    pool.sort((a, b) => loadOf(a) - loadOf(b) || a - b);
    for (let i = 0; i < copies.length; i++) chosen[copies[i]] = experts[best + pool[i]];
  }

  /** What the rewriting changed, and what is left of the scores. */
  private changes(
    table: TokenTable,
    candidates: CandidateTable,
  ): Pick<Rewrite, 'copies' | 'keptGateMass' | 'gpusRouted' | 'gpusRewritten'> {
    const { count, topK, experts } = table;
    const { chosen } = this;
    let copies = 0;
    let mass = 0;
    let keptMass = 0;
    for (let token = 0; token < count; token++) {
      const end = (token + 1) * topK;
      for (let copy = token * topK; copy < end; copy++) {
        if (experts[copy] === NO_EXPERT) continue;
        mass += scoreOf(candidates, token, experts[copy]);
        keptMass += scoreOf(candidates, token, chosen[copy]);
        if (!holds(experts, token * topK, end, chosen[copy])) copies++;
      }
    }
    return {
      copies,
      keptGateMass: mass > 0 ? keptMass / mass : 1,
      gpusRouted: this.gpusOf(experts, table),
      gpusRewritten: this.gpusOf(chosen, table),
    };
  }

  /** Different GPUs that tokens go to, summed over tokens. */
  private gpusOf(experts: Uint16Array, { count, topK }: TokenTable): number {
    const seen = this.seen.fill(-1);
    let sum = 0;
    for (let copy = 0; copy < count * topK; copy++) {
      if (experts[copy] === NO_EXPERT) continue;
      const token = Math.floor(copy / topK);
      const gpu = this.home[experts[copy]];
      if (seen[gpu] !== token) sum++;
      seen[gpu] = token;
    }
    return sum;
  }
}

function holds(experts: Uint16Array, from: number, to: number, expert: number): boolean {
  for (let copy = from; copy < to; copy++) if (experts[copy] === expert) return true;
  return false;
}

function scoreOf({ experts, scores, count }: CandidateTable, token: number, expert: number): number {
  for (let at = token * count; at < (token + 1) * count; at++) if (experts[at] === expert) return scores[at];
  return 0;
}
