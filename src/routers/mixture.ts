import { addSoftmaxGradient, softmaxRows } from './dense.js';
import { parameter, type Parameter } from './parameter.js';
import type { Router } from './router.js';
import { OUTPUTS, type EmbeddingBatch } from './world.js';

/**
 * How scores become gate weights: softmax over all experts, sigmoid of each, or softmax over the chosen ones alone
 * (which are then chosen by their scores).
 */
export type Gate = 'softmax' | 'sigmoid' | 'softmax-chosen';

/** What one batch went through. */
export interface Pass {
  batch: EmbeddingBatch;
  /** [token · experts + expert] */
  scores: Float64Array;
  /** What experts are chosen by, bias apart: softmax or sigmoid of the scores, or the scores. */
  gates: Float64Array;
  /** Softmax of the scores over all experts, whatever the gate. */
  probabilities: Float64Array;
  /** Chosen experts, [token · topK + choice], the largest first. */
  chosen: Uint16Array;
  /** Weights of the chosen experts. */
  weights: Float64Array;
  /** Copies by expert. */
  loads: Int32Array;
  /** Gradient of the loss by the scores; objectives add theirs. */
  scoresGradient: Float64Array;
  /** Mean of half the squared error. */
  taskLoss: number;
  /** What a gradient must not go through: kept where a pass is repeated with the same choices. */
  stopped: Float64Array | null;
}

/** Linear experts behind a router. */
export class Mixture {
  private readonly maps: Parameter;
  /** Gradient by what the experts got, from a pass to its backward pass. */
  private inputsGradient: Float64Array | null = null;

  constructor(
    readonly router: Router,
    readonly gate: Gate,
    private readonly dimension: number,
    readonly experts: number,
    readonly topK: number,
    normal: () => number,
  ) {
    this.maps = parameter('experts', experts * dimension * OUTPUTS, () => normal() / Math.sqrt(dimension));
  }

  get parameters(): Parameter[] {
    return [...this.router.parameters, this.maps];
  }

  /**
   * A forward pass and, where `learns`, the gradients of the task; the router's wait for `backward`.
   * @param bias added to the gates when experts are chosen
   * @param frozen a pass over the same batch whose choices are taken over
   */
  forward(batch: EmbeddingBatch, bias: Float64Array | null, learns: boolean, frozen?: Pass): Pass {
    const { experts, topK, gate } = this;
    const { tokens } = batch;
    const scores = this.router.forward(batch);
    const probabilities = new Float64Array(scores.length);
    softmaxRows(scores, tokens, experts, probabilities);
    const gates =
      gate === 'softmax'
        ? probabilities
        : gate === 'sigmoid'
          ? scores.map((score) => 1 / (1 + Math.exp(-score)))
          : scores;
    const chosen = frozen?.chosen ?? choose(gates, bias, tokens, experts, topK);
    const loads = new Int32Array(experts);
    for (const expert of chosen) loads[expert]++;
    const weights = new Float64Array(chosen.length);
    for (let i = 0; i < chosen.length; i++) weights[i] = gates[Math.floor(i / topK) * experts + chosen[i]];
    if (gate === 'softmax-chosen') softmaxRows(weights, tokens, topK, weights);
    const pass: Pass = {
      batch,
      scores,
      gates,
      probabilities,
      chosen,
      weights,
      loads,
      scoresGradient: new Float64Array(learns ? scores.length : 0),
      taskLoss: 0,
      stopped: frozen?.stopped ?? null,
    };
    if (learns) this.answer(pass);
    return pass;
  }

  /** Adds the router's gradients, once objectives have added theirs to the pass. */
  backward(pass: Pass): void {
    this.router.backward(pass.batch, pass.scoresGradient, this.inputsGradient);
  }

  /** The task's loss, and its gradients by experts, scores and what the experts got. */
  private answer(pass: Pass): void {
    const { experts, topK, dimension, maps, gate } = this;
    const { batch, chosen, weights, gates } = pass;
    const { tokens, targets } = batch;
    const inputs = this.router.expertInputs ?? batch.inputs;
    const inputsGradient = this.router.expertInputs ? new Float64Array(inputs.length) : null;
    const weightsGradient = new Float64Array(weights.length);
    const answers = new Float64Array(topK * OUTPUTS);
    const error = new Float64Array(OUTPUTS);
    let loss = 0;
    for (let t = 0; t < tokens; t++) {
      answers.fill(0);
      for (let o = 0; o < OUTPUTS; o++) error[o] = -targets[t * OUTPUTS + o];
      for (let c = 0; c < topK; c++) {
        const map = chosen[t * topK + c] * dimension * OUTPUTS;
        for (let j = 0; j < dimension; j++) {
          const feature = inputs[t * dimension + j];
          for (let o = 0; o < OUTPUTS; o++)
            answers[c * OUTPUTS + o] += feature * maps.values[map + j * OUTPUTS + o];
        }
        for (let o = 0; o < OUTPUTS; o++) error[o] += weights[t * topK + c] * answers[c * OUTPUTS + o];
      }
      for (let o = 0; o < OUTPUTS; o++) loss += (error[o] * error[o]) / 2 / tokens;
      for (let c = 0; c < topK; c++) {
        let along = 0;
        for (let o = 0; o < OUTPUTS; o++) along += error[o] * answers[c * OUTPUTS + o];
        weightsGradient[t * topK + c] = along / tokens;
        const scale = weights[t * topK + c] / tokens;
        const map = chosen[t * topK + c] * dimension * OUTPUTS;
        for (let j = 0; j < dimension; j++) {
          const feature = inputs[t * dimension + j] * scale;
          let back = 0;
          for (let o = 0; o < OUTPUTS; o++) {
            maps.gradient[map + j * OUTPUTS + o] += feature * error[o];
            back += error[o] * maps.values[map + j * OUTPUTS + o];
          }
          if (inputsGradient) inputsGradient[t * dimension + j] += scale * back;
        }
      }
    }
    pass.taskLoss = loss;
    this.inputsGradient = inputsGradient;
    if (gate === 'softmax-chosen') {
      const byScore = new Float64Array(weights.length);
      addSoftmaxGradient(weights, weightsGradient, tokens, topK, byScore);
      scatter(byScore, chosen, topK, experts, pass.scoresGradient);
      return;
    }
    const byGate = new Float64Array(gates.length);
    scatter(weightsGradient, chosen, topK, experts, byGate);
    if (gate === 'softmax') addSoftmaxGradient(gates, byGate, tokens, experts, pass.scoresGradient);
    else
      for (let i = 0; i < gates.length; i++) pass.scoresGradient[i] += byGate[i] * gates[i] * (1 - gates[i]);
  }
}

/** Adds values of choices to the experts that were chosen. */
function scatter(
  values: Float64Array,
  chosen: Uint16Array,
  topK: number,
  experts: number,
  into: Float64Array,
): void {
  for (let i = 0; i < values.length; i++) into[Math.floor(i / topK) * experts + chosen[i]] += values[i];
}

/** The topK experts with the largest gate + bias of every token, the largest first; ties: the lower number. */
export function choose(
  gates: Float64Array,
  bias: Float64Array | null,
  tokens: number,
  experts: number,
  topK: number,
): Uint16Array {
  const chosen = new Uint16Array(tokens * topK);
  const values = new Float64Array(topK);
  for (let t = 0; t < tokens; t++) {
    const first = t * topK;
    let filled = 0;
    for (let e = 0; e < experts; e++) {
      const value = gates[t * experts + e] + (bias === null ? 0 : bias[e]);
      if (filled === topK && value <= values[topK - 1]) continue;
      let at = filled < topK ? filled++ : topK - 1;
      for (; at > 0 && values[at - 1] < value; at--) {
        values[at] = values[at - 1];
        chosen[first + at] = chosen[first + at - 1];
      }
      values[at] = value;
      chosen[first + at] = e;
    }
  }
  return chosen;
}
