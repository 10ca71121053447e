import { Argument, Command } from '@commander-js/extra-typings';
import {
  dispatchRules,
  historyRules,
  movementRules,
  placementRules,
  policies,
} from '../../balancing/index.js';
import { runtimes } from '../../execution/index.js';
import { clusterPresets, gpuPresets, shippedProfiles } from '../../hardware/index.js';
import { modelPresets } from '../../model/index.js';
import { formatBytes } from '../../report/index.js';
import { objectives } from '../../routers/index.js';
import { batchings, generators, prunings } from '../../routing/index.js';
import { engines } from '../../scenario/index.js';

/** What there is, by kind: names with one line each. */
const lists: Record<string, () => [string, string][]> = {
  policies: () => summaries(policies),
  placements: () => summaries(placementRules),
  dispatch: () => summaries(dispatchRules),
  movement: () => summaries(movementRules),
  history: () => summaries(historyRules),
  models: () =>
    Object.entries(modelPresets).map(([name, m]) => [
      name,
      `${m.moeLayers} MoE layers of ${m.experts} experts, top ${m.topK}; D ${m.hiddenSize}, H ${m.expertHiddenSize}; ` +
        `${m.weightDtype ?? 'bf16'}`,
    ]),
  gpus: () =>
    Object.values(gpuPresets).map((gpu) => [
      gpu.name,
      `${formatBytes(gpu.memoryBytes)}, ${gpu.memoryBandwidth / 1e12} TB/s, ${gpu.bf16Flops / 1e12} TFLOP/s bf16, ` +
        `NVLink ${gpu.nvlinkBandwidth / 1e9} GB/s, NIC ${gpu.nicBandwidth / 1e9} GB/s each way`,
    ]),
  clusters: () =>
    Object.entries(clusterPresets).map(([name, { gpu, gpus, gpusPerNode }]) => [
      name,
      `${gpus} × ${typeof gpu === 'string' ? gpu : gpu.name} in nodes of ${gpusPerNode}`,
    ]),
  profiles: () => shippedProfiles.map(({ name, gpu, status }) => [name, `timings of ${gpu}: ${status}`]),
  runtimes: () => runtimes.map(({ name, summary }) => [name, summary]),
  engines: () =>
    engines.flatMap(({ name, defaults }) =>
      defaults.map(({ setting, value, source }, i): [string, string] => [
        i === 0 ? name : '',
        `${setting}: ${value} (${source})`,
      ]),
    ),
  workloads: () => [
    ...generators.map(({ kind, summary }): [string, string] => [kind, summary]),
    ['twin', "a recording's twin, as epsim trace fit makes it; batchings as a recording's, but for recorded"],
    ['trace', 'a recording, replayed; its batching is one of:'],
    ...batchings.map(({ kind, summary }): [string, string] => [`  ${kind}`, summary]),
    ['  recorded', "the file's own steps and source GPUs"],
  ],
  pruning: () => summaries(prunings),
  routers: () => summaries(objectives),
};

function summaries(rules: readonly { kind: string; summary: string }[]): [string, string][] {
  return rules.map(({ kind, summary }) => [kind, summary]);
}

export function listCommand() {
  return new Command('list')
    .description(
      'list policies and the choices they are made of, models, GPUs, clusters, profiles, runtimes, workloads, prunings and routers',
    )
    .addArgument(new Argument('[what]', 'only these').choices(Object.keys(lists)))
    .action((what) => {
      const wanted = what === undefined ? Object.keys(lists) : [what];
      process.stdout.write(`${wanted.map((kind) => section(kind, lists[kind]())).join('\n\n')}\n`);
    });
}

function section(title: string, entries: [string, string][]): string {
  const width = Math.max(...entries.map(([name]) => name.length));
  return [title, ...entries.map(([name, line]) => `  ${name.padEnd(width)}  ${line}`)].join('\n');
}
