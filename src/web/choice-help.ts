import { runtimes } from '../execution/index.js';
import { bitsOf, gpuPresets } from '../hardware/index.js';
import { modelPresets } from '../model/index.js';
import { generators } from '../routing/index.js';
import { weightDtypeOf, type ChoiceKey, type Settings } from './settings.js';

/** What the chosen option of a list stands for, in a sentence. */
export const CHOICE_HELP: Readonly<Record<ChoiceKey, (settings: Settings) => string>> = {
  model({ model }) {
    const { experts, topK, moeLayers, weightDtype = 'bf16' } = modelPresets[model];
    return `${topK} of ${experts} experts per token, ${moeLayers} MoE layers (one is simulated); shipped in ${weightDtype}.`;
  },
  weights(settings) {
    const dtype = weightDtypeOf(settings);
    return `Format of the experts: ${dtype}, ${bitsOf(dtype)} bits per weight.`;
  },
  gpu({ gpu }) {
    const { memoryBytes, bf16Flops, nvlinkBandwidth, nicBandwidth } = gpuPresets[gpu];
    const [nvlink, nic] = [nvlinkBandwidth, nicBandwidth].map((rate) => rate / 1e9);
    return `${memoryBytes / 1e9} GB, ${bf16Flops / 1e12} TFLOP/s in bf16; sends ${nvlink} GB/s inside a node, ${nic} between nodes.`;
  },
  runtime: ({ runtime }) => sentence(runtimes.find(({ name }) => name === runtime)!.summary),
  skew({ skew }) {
    const own = generators.find(({ kind }) => kind === skew);
    return sentence(own?.summary ?? 'a recording of a model’s routing, all its layers');
  },
};

/** A line of `epsim list` as a sentence. */
export function sentence(summary: string): string {
  return `${summary[0].toUpperCase()}${summary.slice(1)}.`;
}
