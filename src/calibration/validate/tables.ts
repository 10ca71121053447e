import { group as groupBy, mean } from 'd3-array';
import { gpuPresets, stageCost } from '../../hardware/index.js';
import { errorsOf, skewErrors, wellTuned, type Predicted } from '../fit/accuracy.js';
import { heldRows, heldSkews } from '../fit/coverage.js';
import { stageRowsOf, type StageRow } from '../fit/expert-rows.js';
import { crossValidate, fitExpertStage, predictRows, type StageSetting } from '../fit/expert-stage.js';
import { crossValidateNvlink, crossValidateTokenExchanges } from '../fit/network.js';
import type { CollectiveRow, Measurements, MoeLayerRow, TokenExchangeRow } from '../measurements.js';
import { coverageGate, type Gate } from './gate.js';

const { h100 } = gpuPresets;

const FP8: StageSetting = {
  kernel: 'fp8_block',
  stack: 'serving',
  layout: 'fused',
  computeDtype: 'fp8',
  weightDtype: 'fp8',
  activationDtype: 'fp8',
  flopPerSecond: h100.fp8Flops!,
  memoryBandwidth: h100.memoryBandwidth,
};
const BF16: StageSetting = {
  ...FP8,
  kernel: 'bf16',
  computeDtype: 'bf16',
  weightDtype: 'bf16',
  activationDtype: 'bf16',
  flopPerSecond: h100.bf16Flops,
};

function ofOp<Row>(measured: readonly Measurements[], op: string): Row[] {
  return measured.flatMap(({ rows }) => rows.filter((row) => 'op' in row && row.op === op) as Row[]);
}

/**
 * TRT-LLM fp8_block and vLLM bf16 on H100: skewed rows predicted from the balanced rows of the same shape, and
 * whole shapes that were left out.
 * @param measured the imported MoE tables
 * @param onNote told what is being worked on
 */
export function kernelGates(
  measured: readonly Measurements[],
  onNote: (note: string) => void = () => undefined,
): Gate[] {
  const rows = ofOp<MoeLayerRow>(measured, 'moe-layer');
  const gates: Gate[] = [];
  const trt = rows.filter(({ kernel }) => /^TRTLLM .*fp8_block$/.test(kernel));
  if (trt.length > 0) {
    onNote(`kernels: ${trt.length} rows of TRT-LLM fp8_block`);
    const stageRows = stageRowsOf(trt);
    const alone = skewFromBalanced(stageRows, FP8);
    const large = errorsOf(alone.filter(({ row }) => row.tokens >= 1024).map(({ predicted }) => predicted));
    const plain = 'TRT-LLM fp8_block, skew from balanced alone, ≥ 1,024 tokens';
    gates.push(gate(plain, alone.length, 'MAPE', large.mape, null));
    gates.push(gate(plain, alone.length, 'bias', Math.abs(large.bias), null));
    const skewed = withSkewOfOthers(alone);
    const groups = groupBy(
      skewed.filter(({ row }) => row.tokens >= 1024),
      ({ row }) => row.group,
    );
    const byName = new Intl.Collator('en', { numeric: true });
    for (const [group, own] of [...groups].sort(([a], [b]) => byName.compare(a, b))) {
      const expertParallel = Number(/\d+/.exec(group)![0]);
      const errors = errorsOf(own.map(({ predicted }) => predicted));
      const allowed = expertParallel <= 32 ? 10 : expertParallel === 64 ? 18 : null;
      const name = `TRT-LLM fp8_block, skew from balanced and other shapes' skew factor, ≥ 1,024 tokens: ${group}`;
      gates.push(gate(name, own.length, 'MAPE', errors.mape, allowed));
      gates.push(gate(name, own.length, 'bias', Math.abs(errors.bias), expertParallel <= 32 ? 5 : null));
    }
    const few = skewed.filter(({ row }) => row.tokens <= 64).map(({ predicted }) => predicted);
    gates.push(
      gate('TRT-LLM fp8_block, skew from balanced, ≤ 64 tokens', few.length, 'MAPE', errorsOf(few).mape, 19),
    );
    onNote('kernels: leaving one shape after another out');
    const { predicted } = crossValidate(stageRows, FP8);
    const left = errorsOf(predicted);
    gates.push(gate('TRT-LLM fp8_block, shapes left out, all rows', trt.length, 'MAPE', left.mape, 13));
    gates.push(gate('TRT-LLM fp8_block, shapes left out, all rows', trt.length, 'median', left.median, 7));
    gates.push(...kernelCoverage('TRT-LLM fp8_block', predicted));
  }
  const bf16 = rows.filter(({ kernel }) => /^TRTLLM .*bfloat16$/.test(kernel));
  if (bf16.length > 0) {
    onNote(`kernels: ${bf16.length} rows of TRT-LLM bf16, leaving one shape after another out`);
    const { predicted } = crossValidate(stageRowsOf(bf16), BF16);
    const left = errorsOf(predicted);
    gates.push(gate('TRT-LLM bf16, shapes left out, all rows', bf16.length, 'MAPE', left.mape, null));
    gates.push(gate('TRT-LLM bf16, shapes left out, all rows', bf16.length, 'median', left.median, null));
    gates.push(...kernelCoverage('TRT-LLM bf16', predicted));
  }
  const vllm = rows.filter(({ kernel }) => /^VLLM .*bfloat16$/.test(kernel));
  if (vllm.length > 0) {
    onNote(`kernels: ${vllm.length} rows of vLLM bf16`);
    const own = skewFromBalanced(stageRowsOf(vllm), BF16).map(({ predicted }) => predicted);
    gates.push(gate('vLLM bf16, skew from balanced, all rows', own.length, 'MAPE', errorsOf(own).mape, 15));
  }
  return gates;
}

/**
 * How many times of left-out shapes, and ratios of skewed to balanced ones, lie in their intervals; and how many
 * rows the latter leave out because their kernel is badly tuned.
 */
function kernelCoverage(table: string, predicted: readonly Predicted[]): Gate[] {
  return [
    coverageGate('kernels', `${table}, shapes left out, times`, predicted.length, heldRows(predicted)),
    coverageGate(
      'kernels',
      `${table}, shapes left out, ratios of skewed to balanced`,
      skewErrors(predicted).length,
      heldSkews(predicted),
    ),
    gate(
      `${table}, rows with a badly tuned kernel, left out of the ratios`,
      predicted.length,
      'share',
      1 - wellTuned(predicted).length / predicted.length,
      null,
    ),
  ];
}

interface SkewedRow {
  row: StageRow;
  predicted: Predicted;
  /** Product time of the row in its shape's fit. */
  flopSeconds: number;
}

/** Skewed rows, each predicted by a fit on the balanced rows of its own shape alone. */
function skewFromBalanced(rows: readonly StageRow[], setting: StageSetting): SkewedRow[] {
  return [...groupBy(rows, ({ shape }) => shape).values()].flatMap((own) => {
    const skewed = own.filter(({ balanced }) => !balanced);
    const stage = fitExpertStage(
      own.filter(({ balanced }) => balanced),
      setting,
    );
    return predictRows(stage, skewed, setting).map((predicted, i) => {
      const row = skewed[i];
      const { flopSecondsPerRow } = stageCost(stage, { ...row, ...setting });
      return { row, predicted, flopSeconds: flopSecondsPerRow * row.rounded };
    });
  });
}

/**
 * The same with what other shapes teach about skew: products of experts of unequal size run slower than the
 * balanced benchmark's equal ones, by a share of their product time that is the mean over all shapes but the
 * row's own.
 */
function withSkewOfOthers(skewed: readonly SkewedRow[]): SkewedRow[] {
  const slower = ({ predicted, flopSeconds }: SkewedRow, share: number) =>
    predicted.predicted + share * flopSeconds;
  return [...groupBy(skewed, ({ row }) => row.shape)].flatMap(([shape, own]) => {
    const others = skewed.filter(({ row }) => row.shape !== shape && row.tokens >= 1024);
    const biasAt = (share: number) =>
      mean(others, (each) => Math.log(slower(each, share) / each.predicted.measured)) ?? 0;
    let low = 0;
    let high = 1;
    for (let step = 0; step < 20; step++) {
      const middle = (low + high) / 2;
      if (biasAt(middle) < 0) low = middle;
      else high = middle;
    }
    return own.map((each) => ({ ...each, predicted: { ...each.predicted, predicted: slower(each, low) } }));
  });
}

function gate(name: string, points: number, measure: string, error: number, allowed: number | null): Gate {
  return { suite: 'kernels', name, points, measure, error: 100 * error, allowed, unit: '%', basis: 'unseen' };
}

/** NCCL all-to-all and DeepEP of H100. */
export function networkGates(measured: readonly Measurements[]): Gate[] {
  const gates: Gate[] = [];
  const line = (name: string, points: number, mape: number, allowed: number) =>
    gates.push({ ...gate(name, points, 'MAPE', mape, allowed), suite: 'network' });
  const collectives = ofOp<CollectiveRow>(measured, 'collective');
  if (collectives.length > 0) {
    const name = 'NCCL all-to-all ≥ 1 MiB, numbers of GPUs left out';
    const left = crossValidateNvlink(collectives, h100.nvlinkBandwidth);
    line(name, left.length, errorsOf(left).mape, 8);
    gates.push(coverageGate('network', name, left.length, heldRows(left)));
  }
  const exchanges = ofOp<TokenExchangeRow>(measured, 'token-exchange');
  const nominal = { nvlink: h100.nvlinkBandwidth, nic: h100.nicBandwidth };
  const kernels = crossValidateTokenExchanges(exchanges, nominal);
  for (const { mode, direction, left } of kernels) {
    for (const [group, own] of groupBy(left, (row) => row.group)) {
      const name = `DeepEP ${mode} ${direction}, ${group}, every fourth row left out`;
      line(name, own.length, errorsOf(own).mape, group === '1 node' ? 8 : 20);
    }
  }
  if (exchanges.length > 0) {
    const left = kernels.flatMap((kernel) => kernel.left);
    gates.push(coverageGate('network', 'DeepEP, every fourth row left out', left.length, heldRows(left)));
  }
  return gates;
}
