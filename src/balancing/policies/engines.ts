import { combination } from './combination.js';

/** A window that counts padding and all phases, which engines do unless they are told otherwise. */
const EVERY_LOAD = { kind: 'window', phase: 'all', padding: 'counted', skipAbove: null } as const;

/** vLLM's EPLB as `EPLBConfig` has it by default; sources in docs/balancers.md. */
export const vllm = combination(
  'vllm',
  "vLLM's EPLB with its defaults: no redundancy, async, every 3,000 steps",
  {
    placement: { kind: 'eplb', slots: null, groups: 1, avoidDuplicates: false, reorderOnly: true },
    dispatch: 'token-hash',
    movement: 'async',
    history: { ...EVERY_LOAD, steps: 1000, interval: 3000, first: 750, staleness: 0 },
  },
);

/** SGLang's EPLB manager with its defaults; its planner runs in PyTorch and takes about a second (sglang#7879). */
export const sglangEngine = combination(
  'sglang',
  "SGLang's EPLB with its defaults: no redundancy, all at once, every 1,000 steps, static replica choice",
  {
    placement: { kind: 'eplb', slots: null, groups: 1, avoidDuplicates: false, reorderOnly: true },
    dispatch: 'nearest',
    movement: {
      kind: 'blocking',
      from: 'gpus',
      alignSlots: true,
      planSeconds: 0,
      planSecondsPerExpert: 67e-6,
    },
    history: { ...EVERY_LOAD, steps: 1000, interval: 1000, first: null, staleness: 0 },
  },
);

/** TensorRT-LLM's expert parallel load balancer, static as it is without `layer_updates_per_iter`. */
export const tensorrtLlmEngine = combination(
  'tensorrt-llm',
  "TensorRT-LLM's load balancer as configured offline: its greedy placement, replicas in turn",
  { placement: 'tensorrt-llm', dispatch: 'round-robin', movement: null, history: 'calibration' },
);

/** vllm-ascend's own path with its default policy. */
export const vllmAscendEngine = combination(
  'vllm-ascend',
  "vllm-ascend's EPLB with its defaults: heat of 600 steps, 50 to plan, layer by layer in the background",
  {
    placement: 'ascend-default',
    dispatch: 'even',
    movement: 'async',
    history: { ...EVERY_LOAD, steps: 600, interval: 650, first: 600, staleness: 50 },
  },
);

/** Megatron-LM's expert parallelism, which balances by losses in training and moves nothing. */
export const megatron = combination(
  'megatron',
  "Megatron-LM's EP with its defaults: every copy at home, nothing dropped",
  { placement: 'contiguous', dispatch: 'home', movement: null, history: 'calibration' },
);
