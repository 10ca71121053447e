/** Seconds of one call: median of five batches after warm-up. */
export function medianSeconds(work: () => void, perBatch: number): number {
  for (let i = 0; i < perBatch; i++) work();
  const batches = Array.from({ length: 5 }, () => {
    const start = performance.now();
    for (let i = 0; i < perBatch; i++) work();
    return (performance.now() - start) / 1e3 / perBatch;
  });
  return batches.sort((a, b) => a - b)[2];
}

/** One line of the report. */
export interface Measurement {
  name: string;
  value: number;
  unit: string;
  /** What an excellent result is, and whether more or less is better. */
  target: { value: number; better: 'more' | 'less' } | null;
  /** What the same machine did with something simple in the same process. */
  yardstick: string;
}

/** Prints a measurement for the parent process to collect. */
export function report(measurement: Measurement): void {
  process.stdout.write(`${JSON.stringify(measurement)}\n`);
}
