import { fromAddress, toAddress } from './address.js';
import { addControls } from './controls.js';
import { byId, element } from './element.js';
import { settled } from './limits.js';
import type { Reply, Request } from './messages.js';
import { currentResult, say, showAsked, showNothing, showNumbers, showPicture } from './outcome.js';
import { scenarioOf } from './scenario-of.js';
import type { Settings } from './settings.js';

/** The worker's program stands in the page, so that one file is all that is served, or opened from a disk. */
const program = new Blob([byId('worker').textContent], { type: 'text/javascript' });
const worker = new Worker(URL.createObjectURL(program));
const ask = (request: Request) => worker.postMessage(request);

let settings: Settings = fromAddress(location.hash);
/** Number of the run that the settings ask for; what comes for another is of other settings. */
let asked = 0;
/** Name of the trace that the worker holds; null: none was dropped. */
let held: string | null = null;

const showSettings = addControls(change);

function change(changed: Partial<Settings>): void {
  settings = settled({ ...settings, ...changed });
  refresh();
}

function refresh(): void {
  keepAddress();
  showSettings(settings);
  asked++;
  const replayed = settings.skew === 'trace';
  (byId('scenario') as HTMLButtonElement).disabled = replayed && settings.trace === '';
  if (replayed && settings.trace !== held) {
    showNothing(
      settings.trace === ''
        ? 'Drop a trace here, or choose its file; or choose another routing.'
        : `Drop ${settings.trace} here: this address replays it.`,
    );
    return;
  }
  showAsked();
  ask({ kind: 'run', id: asked, settings });
}

/** The address says what is run, even where somebody wrote something else into it. */
function keepAddress(): void {
  const address = toAddress(settings);
  if (location.hash.slice(1) !== address) history.replaceState(null, '', `#${address}`);
}

async function drop(files: Iterable<File>): Promise<void> {
  const read = [...files].map(async (file) => ({ name: file.name, bytes: await file.arrayBuffer() }));
  ask({ kind: 'trace', files: await Promise.all(read) });
}

function save(name: string, content: string): void {
  const link = element('a', {
    download: name,
    href: URL.createObjectURL(new Blob([content], { type: 'application/json' })),
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

worker.onmessage = ({ data }: MessageEvent<Reply>) => {
  switch (data.kind) {
    case 'trace':
      held = data.name;
      change({ skew: 'trace', trace: data.name, model: modelFor(data.models) });
      break;
    case 'unread':
      say(data.message);
      break;
    case 'refused':
      if (data.id === asked) showNothing(data.message);
      break;
    case 'numbers':
      if (isAwaited(data.id)) showNumbers(data.numbers, data.result, data.milliseconds, data.id === asked);
      break;
    case 'picture':
      if (isAwaited(data.id)) showPicture(data, data.id === asked);
      break;
  }
};

/** The chosen model where a trace could be of it, else the first that it could be of. */
function modelFor([first, ...others]: readonly string[]): string {
  return first === undefined || others.includes(settings.model) ? settings.model : first;
}

/** A run before the one asked for shows the way there; where none is asked for, it would be taken for the result. */
function isAwaited(id: number): boolean {
  return id === asked || document.body.dataset.state === 'asked';
}

byId('file').addEventListener('change', (event) => void drop((event.target as HTMLInputElement).files ?? []));
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  void drop(event.dataTransfer?.files ?? []);
});
byId('scenario').addEventListener('click', () =>
  save('playground.json', `${JSON.stringify(scenarioOf(settings), null, 2)}\n`),
);
byId('result').addEventListener('click', () => {
  const result = currentResult();
  if (result !== null) save('result.json', `${result}\n`);
});
window.addEventListener('hashchange', () => {
  settings = fromAddress(location.hash);
  refresh();
});
refresh();
