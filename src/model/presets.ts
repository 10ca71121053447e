import type { ShapeInput } from './shape.js';

const gqa = (heads: number, kvHeads: number, headSize: number) =>
  ({ kind: 'gqa', heads, kvHeads, headSize }) as const;

const mla = (heads: number, queryRank: number | null) =>
  ({ kind: 'mla', heads, kvRank: 512, queryRank, ropeSize: 64, nopeSize: 128, valueSize: 128 }) as const;

const gptOss = {
  hiddenSize: 2880,
  expertHiddenSize: 2880,
  topK: 4,
  weightDtype: 'mxfp4',
  attention: { ...gqa(64, 8, 64), window: 128, windowEvery: 2 },
  vocabulary: 201_088,
} as const;

/** Shapes from the models' own config.json; OLMoE's and Phi's are from memory, unconfirmed. */
export const modelPresets: Readonly<Record<string, ShapeInput>> = {
  'gpt-oss-20b': { ...gptOss, experts: 32, moeLayers: 24 },
  'gpt-oss-120b': { ...gptOss, experts: 128, moeLayers: 36 },
  'deepseek-v2-lite': {
    hiddenSize: 2048,
    expertHiddenSize: 1408,
    experts: 64,
    topK: 6,
    moeLayers: 26,
    sharedExperts: 2,
    attention: mla(16, null),
    denseLayers: 1,
    denseHiddenSize: 10_944,
    vocabulary: 102_400,
  },
  'deepseek-v3': {
    hiddenSize: 7168,
    expertHiddenSize: 2048,
    experts: 256,
    topK: 8,
    moeLayers: 58,
    sharedExperts: 1,
    weightDtype: 'fp8',
    routerGroups: 8,
    topGroups: 4,
    attention: mla(128, 1536),
    denseLayers: 3,
    denseHiddenSize: 18_432,
    vocabulary: 129_280,
  },
  'kimi-k2': {
    hiddenSize: 7168,
    expertHiddenSize: 2048,
    experts: 384,
    topK: 8,
    moeLayers: 60,
    sharedExperts: 1,
    weightDtype: 'fp8',
    attention: mla(64, 1536),
    denseLayers: 1,
    denseHiddenSize: 18_432,
    vocabulary: 163_840,
  },
  'qwen3-30b-a3b': {
    hiddenSize: 2048,
    expertHiddenSize: 768,
    experts: 128,
    topK: 8,
    moeLayers: 48,
    attention: gqa(32, 4, 128),
    vocabulary: 151_936,
  },
  'qwen3-235b-a22b': {
    hiddenSize: 4096,
    expertHiddenSize: 1536,
    experts: 128,
    topK: 8,
    moeLayers: 94,
    attention: gqa(64, 4, 128),
    vocabulary: 151_936,
  },
  'glm-4.5': {
    hiddenSize: 5120,
    expertHiddenSize: 1536,
    experts: 160,
    topK: 8,
    moeLayers: 89,
    sharedExperts: 1,
    attention: gqa(96, 8, 128),
    denseLayers: 3,
    denseHiddenSize: 12_288,
    vocabulary: 151_552,
  },
  'mixtral-8x7b': {
    hiddenSize: 4096,
    expertHiddenSize: 14_336,
    experts: 8,
    topK: 2,
    moeLayers: 32,
    attention: gqa(32, 8, 128),
    vocabulary: 32_000,
  },
  'phi-3.5-moe': {
    hiddenSize: 4096,
    expertHiddenSize: 6400,
    experts: 16,
    topK: 2,
    moeLayers: 32,
    attention: gqa(32, 8, 128),
    vocabulary: 32_064,
  },
  'olmoe-1b-7b': {
    hiddenSize: 2048,
    expertHiddenSize: 1024,
    experts: 64,
    topK: 8,
    moeLayers: 16,
    attention: gqa(16, 16, 128),
    vocabulary: 50_304,
  },
};
