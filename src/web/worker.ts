import type { Trace } from '../routing/index.js';
import type { Reply, Request } from './messages.js';
import { readDropped } from './read-dropped.js';
import { forgetKept, numbersHtml, pictureHtml, picturesOf, simulateSettings } from './simulate-settings.js';
import { modelsOf, traceMisfit } from './trace-misfit.js';

/** Put here by tools/build-web.js. */
declare const EPSIM_VERSION: string;

const scope = globalThis as unknown as {
  postMessage(reply: Reply): void;
  onmessage: ((event: { data: Request }) => void) | null;
};

let trace: Trace | null = null;
/** The run that was asked for last; those before it that have not begun are left out. */
let waiting: Extract<Request, { kind: 'run' }> | null = null;
let busy = false;

scope.onmessage = ({ data }) => {
  if (data.kind === 'run') waiting = data;
  void (data.kind === 'run' ? work() : take(data));
};

async function take({ files }: Extract<Request, { kind: 'trace' }>): Promise<void> {
  try {
    const read = await readDropped(files);
    trace = read.trace;
    forgetKept();
    scope.postMessage({ kind: 'trace', name: read.path, models: modelsOf(trace.header) });
  } catch (error) {
    scope.postMessage({ kind: 'unread', message: (error as Error).message });
  }
}

async function work(): Promise<void> {
  if (busy) return;
  busy = true;
  while (waiting !== null) {
    const { id, settings } = waiting;
    waiting = null;
    try {
      const started = performance.now();
      const replayed = settings.skew === 'trace' ? trace : null;
      const misfit = replayed === null ? null : traceMisfit(replayed.header, settings);
      if (misfit !== null) throw new RangeError(misfit);
      const simulated = simulateSettings(settings, replayed, EPSIM_VERSION);
      const taken = () => performance.now() - started;
      const result = JSON.stringify(simulated.result, null, 2);
      const numbers = numbersHtml(simulated);
      scope.postMessage({ kind: 'numbers', id, numbers, milliseconds: taken(), result });
      const pictures = picturesOf(simulated);
      const of = pictures.length;
      for (const [index, picture] of pictures.entries()) {
        const html = await pictureHtml(picture);
        scope.postMessage({ kind: 'picture', id, index, of, html, milliseconds: taken() });
      }
    } catch (error) {
      scope.postMessage({ kind: 'refused', id, message: (error as Error).message });
    }
    // Lets messages that came meanwhile in.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  busy = false;
}
