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

/** The line that says how many unseen points their 90 % intervals hold: 85 to 95 % of them should be. */
export function coverageGate(suite: Gate['suite'], name: string, points: number, held: number): Gate {
  return {
    suite,
    name: `${name}: ${(100 * held).toFixed(1)} % in their 90 % intervals`,
    points,
    measure: 'off 90 % by',
    error: 100 * Math.abs(held - 0.9),
    allowed: 5,
    unit: '%',
    basis: 'unseen',
  };
}
