import { byId, element, setText } from './element.js';
import type { Reply } from './messages.js';
import type { NumbersHtml } from './simulate-settings.js';
import { updateContent } from './update-content.js';

/** A redraw that is over before needs no word and no dimming: it would flicker, and painting it would take as long. */
const MARKED_AFTER_MS = 150;

/** Parts of the page that hold what a run gave; each is busy while what it holds is of other settings. */
const NUMBERS = ['verdict', 'results', 'words'];
const PICTURES = 'pictures';

let timer: number | undefined;

/** How long the numbers that are shown took. */
let simulatedMs = 0;

/** The last result that was drawn, as JSON, while the settings are those it belongs to; null: none is. */
let current: string | null = null;

/** The result that belongs to the settings, as JSON; null: it is not there yet, or there can be none. */
export const currentResult = (): string | null => current;

/** What is shown is out of date from now on; after a moment one sees it. */
export function showAsked(): void {
  say('');
  enter('asked', null);
  setBusy([...NUMBERS, PICTURES], true);
  startWaiting();
}

/** Shows the numbers of a run: the one for the settings, or one before it on the way there. */
export function showNumbers(
  { verdict, tables, words }: NumbersHtml,
  result: string,
  milliseconds: number,
  latest: boolean,
): void {
  setText(byId('verdict'), verdict);
  updateContent(byId('results'), tables);
  updateContent(byId('words'), words);
  // From here on the wait is for what comes next: the pictures, or the numbers of other settings.
  stopWaiting();
  startWaiting();
  if (!latest) return;
  simulatedMs = milliseconds;
  setText(byId('taken'), `${simulated()}; the pictures follow.`);
  setBusy(NUMBERS, false);
  enter('numbers', result);
}

/** Shows a picture of a run. */
export function showPicture(
  { index, of, html, milliseconds }: Extract<Reply, { kind: 'picture' }>,
  latest: boolean,
): void {
  const pictures = byId(PICTURES);
  while (pictures.children.length > of) pictures.lastChild!.remove();
  while (pictures.children.length <= index) pictures.append(element('div', {}));
  updateContent(pictures.children[index], html);
  if (!latest || index < of - 1) return;
  stopWaiting();
  setText(byId('taken'), `${simulated()}, in ${milliseconds.toFixed(0)} ms with the pictures.`);
  setBusy([PICTURES], false);
  enter('drawn', current);
}

/** Nothing stands for the settings: says why, and leaves no older result that could be taken for theirs. */
export function showNothing(message: string): void {
  stopWaiting();
  for (const id of ['verdict', 'taken']) setText(byId(id), '');
  for (const id of ['results', 'words', PICTURES]) byId(id).replaceChildren();
  setBusy([...NUMBERS, PICTURES], false);
  enter('nothing', null);
  say(message);
}

/** Says what the reader must know or do; empty: nothing. */
export function say(message: string): void {
  setText(byId('message'), message);
}

function enter(state: string, result: string | null): void {
  current = result;
  document.body.dataset.state = state;
  (byId('result') as HTMLButtonElement).disabled = result === null;
}

function simulated(): string {
  return `Simulated in your browser in ${simulatedMs.toFixed(0)} ms`;
}

function startWaiting(): void {
  timer ??= window.setTimeout(() => setSlow(true), MARKED_AFTER_MS);
}

function stopWaiting(): void {
  window.clearTimeout(timer);
  timer = undefined;
  setSlow(false);
}

function setSlow(slow: boolean): void {
  byId('computing').hidden = !slow;
  document.body.classList.toggle('slow', slow);
}

function setBusy(ids: readonly string[], busy: boolean): void {
  for (const id of ids) byId(id).setAttribute('aria-busy', String(busy));
}
