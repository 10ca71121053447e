import type { Balance, BalanceMetric } from '../metrics/index.js';

/** Mean number of different GPUs and nodes that a token is sent to. */
export interface FanOut {
  gpus: number;
  nodes: number;
}

/** How evenly one policy spreads a run's load. */
export interface PolicyBalance {
  policy: string;
  /** Copies per GPU. */
  gpu: Balance;
  /** Copies per instance of an expert, idle ones too; what engines call physical experts. */
  instance: Balance;
  /** Instances with copies, per GPU: mean over GPUs, and the largest of them; means over layers and steps. */
  activeInstances: { mean: number; largest: number };
  /** Rows that only fill tiles of the expert kernel, over all rows that it computes. */
  paddingShare: number;
  /** Copies that leave their source's GPU, and its node, over all copies. */
  awayShare: number;
  otherNodeShare: number;
  /** Mean number of GPUs and nodes that a token is sent to, its own too; null where nobody says which instance takes which token. */
  fanOut: FanOut | null;
}

/** Every definition of balance, for the loads of one run. */
export interface BalanceReport {
  /** Steps whose loads are summed for windowed values; null: all of the run. */
  window: number | null;
  metrics: Omit<BalanceMetric, 'of' | 'ofLayers'>[];
  /** With every copy at home: contiguous experts. */
  before: { gpu: Balance; expert: Balance; fanOut: FanOut | null };
  policies: PolicyBalance[];
}
