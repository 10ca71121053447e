import type { RuntimeOptions } from '../execution/index.js';

/** What one setting of an engine is by default, in this project's words, and where that is said. */
export interface EngineDefault {
  setting: string;
  value: string;
  source: string;
}

/** An engine whose defaults a scenario can take: the runtime by phase, and a policy of the same name. */
export interface Engine {
  name: string;
  /** Runtime of a scenario that names the engine and no runtime; a training takes that of a prefill. */
  runtime: Readonly<Record<'prefill' | 'decode', RuntimeOptions['preset']>>;
  defaults: readonly EngineDefault[];
}

/** All engines, in the order in which they are listed; docs/balancers.md has the same table. */
export const engines = [
  {
    name: 'vllm',
    runtime: { prefill: 'allgather-reducescatter', decode: 'allgather-reducescatter' },
    defaults: [
      { setting: 'runtime', value: 'allgather-reducescatter', source: 'default all2all backend' },
      {
        setting: 'placement',
        value: 'eplb, no redundant experts',
        source: 'EPLBConfig.num_redundant_experts 0',
      },
      {
        setting: 'dispatch',
        value: 'token-hash',
        source: 'current kernel that maps logical to physical experts',
      },
      {
        setting: 'movement',
        value: 'async, a layer per step',
        source: 'EPLBConfig.use_async true (vllm#43219)',
      },
      { setting: 'planning', value: '6 µs per expert and layer', source: 'vllm#28369: 10 ms for 26 × 64' },
      {
        setting: 'history',
        value: 'window of 1000 steps, every 3000, first after 750',
        source: 'EPLBConfig.window_size, step_interval; the counter starts at 3/4 of it',
      },
    ],
  },
  {
    name: 'sglang',
    runtime: { prefill: 'deepep-normal', decode: 'deepep-low-latency' },
    defaults: [
      {
        setting: 'runtime',
        value: 'deepep-normal in prefill, deepep-low-latency in decode',
        source: 'deepep_mode auto; DeepEP itself must be asked for there',
      },
      { setting: 'placement', value: 'eplb, no redundant experts', source: 'ep_num_redundant_experts 0' },
      {
        setting: 'dispatch',
        value: 'nearest',
        source: 'ep_dispatch_algorithm static, which draws where this deals',
      },
      {
        setting: 'movement',
        value: 'blocking, all layers at once',
        source: 'eplb_rebalance_layers_per_chunk unset',
      },
      {
        setting: 'planning',
        value: '67 µs per expert and layer',
        source: 'sglang#7879: about 1 s for 58 × 256',
      },
      {
        setting: 'history',
        value: 'window of 1000 steps, every 1000',
        source: 'eplb_rebalance_num_iterations 1000 (not verified), buffer tied to it',
      },
    ],
  },
  {
    name: 'tensorrt-llm',
    runtime: { prefill: 'allgather-reducescatter', decode: 'allgather-reducescatter' },
    defaults: [
      {
        setting: 'runtime',
        value: 'allgather-reducescatter',
        source: 'assumed: its own all-to-all kernels are not simulated',
      },
      {
        setting: 'placement',
        value: 'tensorrt-llm, one spare slot per GPU',
        source: 'its greedy; num_slots must be given there, the number is ours',
      },
      {
        setting: 'dispatch',
        value: 'round-robin',
        source: 'a running counter per expert, modulo its copies',
      },
      { setting: 'history', value: 'calibration', source: 'layer_updates_per_iter 0: static' },
    ],
  },
  {
    name: 'vllm-ascend',
    runtime: { prefill: 'allgather-reducescatter', decode: 'allgather-reducescatter' },
    defaults: [
      { setting: 'runtime', value: 'allgather-reducescatter', source: 'assumed: that of vLLM' },
      { setting: 'placement', value: 'ascend-default', source: 'eplb_policy_type 1 @ 182b75ea' },
      { setting: 'dispatch', value: 'even', source: 'assumed' },
      {
        setting: 'movement',
        value: 'async, a layer per step',
        source: 'layer-by-layer update of the V1 path',
      },
      {
        setting: 'history',
        value: 'window of 600 steps, every 650, 50 steps later',
        source: 'expert_heat_collection_interval 600, algorithm_execution_interval 50',
      },
    ],
  },
  {
    name: 'megatron',
    runtime: { prefill: 'megatron-alltoall', decode: 'megatron-alltoall' },
    defaults: [
      {
        setting: 'runtime',
        value: 'megatron-alltoall',
        source: 'moe_token_dispatcher_type alltoall, as its recipes set it; allgather is not simulated',
      },
      { setting: 'placement', value: 'contiguous', source: 'experts are divided over ranks in order' },
      { setting: 'dispatch', value: 'home', source: 'one instance of every expert' },
      { setting: 'drops', value: 'none', source: 'moe_expert_capacity_factor unset: dropless' },
    ],
  },
] as const satisfies readonly Engine[];

export type EngineName = (typeof engines)[number]['name'];
