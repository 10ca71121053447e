/** One line of a validation: what was measured, what was simulated, and whether the error is allowed. */
export interface Gate {
  suite: 'llep-paper' | 'kernels' | 'network' | 'memory';
  name: string;
  /** Measured points behind the line. */
  points: number;
  /** What the error is, e.g. "MAPE". */
  measure: string;
  /** Error found and allowed, in `unit`; `allowed` is null where the line is reported only. */
  error: number;
  allowed: number | null;
  unit: '%' | 'GiB' | 'wrong';
  /** fit: the points were used to fit; unseen: they were not. */
  basis: 'fit' | 'unseen';
}

/** Whether a gate is met; lines without a target are. */
export function isMet({ error, allowed }: Gate): boolean {
  return allowed === null || error <= allowed;
}
