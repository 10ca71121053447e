import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  readRecording,
  RECORDING_PARTS,
  tokenTraceSource,
  type BatchingKind,
  type RecordingParts,
  type TokenTrace,
} from '../../src/routing/index.js';
import { bytesOf, shared } from '../shared.js';

async function open(name: string): Promise<TokenTrace> {
  const recording: RecordingParts = {};
  for (const part of RECORDING_PARTS) {
    const file = `${shared}/traces/${name}.${part}`;
    if (existsSync(file)) recording[part] = bytesOf(file);
  }
  return (await readRecording(recording, undefined)) as TokenTrace;
}

/** Median over (step, layer) of the largest over the mean load of 8 GPUs. */
function medianSkew(trace: TokenTrace, batching: BatchingKind, tokensPerGpu: number): number {
  const layers = trace.header.layerIds.map((_, i) => i);
  const source = tokenTraceSource(trace, {
    gpus: 8,
    tokensPerGpu,
    steps: null,
    layers,
    batching,
    resample: false,
    padding: false,
    phase: null,
    calibrationShare: 0,
    seed: 1,
  });
  const stream = source.start();
  const skews: number[] = [];
  const perGpu = trace.header.experts / 8;
  for (let step = stream.next(); step !== null; step = stream.next()) {
    for (const { counts } of step.layers) {
      const loads = new Float64Array(8);
      counts.forEach((copies, i) => (loads[Math.floor((i % trace.header.experts) / perGpu)] += copies));
      skews.push(Math.max(...loads) / ((step.tokens * trace.header.topK) / 8));
    }
  }
  skews.sort((a, b) => a - b);
  return skews[Math.floor(skews.length / 2)];
}

// Figures of measured-data.md §4.
describe.skipIf(shared === null)('recordings of real models', () => {
  it.each([
    ['gpt-oss-20b/mmlu_dev', 1.42],
    ['gpt-oss-20b/mmlu_test', 1.48],
    ['gpt-oss-20b/mmlu_validation', 1.46],
    ['deepseek-v2-lite/intent', 1.45],
    ['deepseek-v2-lite/law', 1.34],
  ])('%s: shuffled batches of 1024 tokens have a median γ of %d at 8 GPUs', async (name, skew) => {
    expect(medianSkew(await open(name), 'shuffled', 128)).toBeCloseTo(skew, 1.6);
  });

  it('a decode of 64 live sequences is less skewed than reading in order', async () => {
    const trace = await open('gpt-oss-20b/mmlu_test');
    expect(medianSkew(trace, 'decode-lockstep', 8)).toBeCloseTo(1.54, 1.6);
  });

  it('gpt-oss-20b/mmlu_dev holds 24,028 tokens of 95 sequences', async () => {
    const trace = await open('gpt-oss-20b/mmlu_dev');
    expect([trace.tokens, trace.sequenceStarts!.length - 1]).toEqual([24_028, 95]);
  });
});
