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

/** Milliseconds between two lines of progress where there is no terminal, as in the log of a batch job. */
const LINE_EVERY = 30_000;

/**
 * Progress of a sweep on stderr: a bar with rate and time left on a terminal, else a line now and then.
 * @param of all points
 */
export function sweepProgress(of: number): {
  onPoints: (count: number, kept: boolean) => void;
  stop: () => void;
} {
  const started = Date.now();
  let [done, computed, lastLine] = [0, 0, started];
  const rate = () => computed / Math.max(1e-3, (Date.now() - started) / 1e3);
  const left = () => (computed === 0 ? '?' : duration((of - done) / rate()));
  const bar = process.stderr.isTTY
    ? new SingleBar(
        {
          format: 'sweep {bar} {value}/{total} points, {rate} points/s, {left} left',
          stream: process.stderr,
          clearOnComplete: true,
          hideCursor: true,
        },
        Presets.shades_classic,
      )
    : null;
  bar?.start(of, 0, { rate: '?', left: '?' });
  return {
    onPoints(count, kept) {
      done += count;
      if (!kept) computed += count;
      bar?.update(done, { rate: rate().toFixed(1), left: left() });
      if (bar !== null || Date.now() - lastLine < LINE_EVERY) return;
      lastLine = Date.now();
      console.error(`${done} of ${of} points, ${rate().toFixed(1)} points/s, ${left()} left`);
    },
    stop: () => bar?.stop(),
  };
}

/** Seconds as 4:05 or 1:04:05. */
function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value % 60).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  const hours = Math.floor(minutes / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole)}` : `${minutes}:${two(whole)}`;
}
