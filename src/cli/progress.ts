import { Presets, SingleBar } from 'cli-progress';

/** Milliseconds after which a run is long enough for a progress bar. */
const PATIENCE = 1000;

/**
 * A progress bar on stderr that appears once a run turns out long, and only on a terminal.
 * @returns what to call with steps (or what `unit` counts) done and in all, and what to call at the end
 */
export function progressBar(
  label: string,
  unit = 'steps',
): { onStep: (done: number, of: number) => void; stop: () => void } {
  if (!process.stderr.isTTY) return { onStep: () => undefined, stop: () => undefined };
  const started = Date.now();
  let bar: SingleBar | null = null;
  return {
    onStep(done, of) {
      if (bar === null) {
        if (Date.now() - started < PATIENCE) return;
        bar = new SingleBar(
          {
            format: `${label} {bar} {value}/{total} ${unit}, {eta_formatted} left`,
            stream: process.stderr,
            clearOnComplete: true,
            hideCursor: true,
          },
          Presets.shades_classic,
        );
        bar.start(of, done);
      }
      bar.update(done);
    },
    stop: () => bar?.stop(),
  };
}
