import type { Reply, Request } from './messages.js';
import {
  CHOICES,
  fromAddress,
  NUMBERS,
  POLICIES,
  scenarioOf,
  SKEWS,
  toAddress,
  type NumberSetting,
  type Settings,
  type Skew,
} from './settings.js';

const byId = (id: string) => document.getElementById(id)!;

/** The worker's program stands in the page, so that one file is all that is served, or opened from a disk. */
const program = new Blob([byId('worker').textContent], { type: 'text/javascript' });
const worker = new Worker(URL.createObjectURL(program));
const ask = (request: Request) => worker.postMessage(request);

let settings: Settings = fromAddress(location.hash);
let asked = 0;
let result = '';
/** Name of the trace that the worker holds; null: none was dropped. */
let held: string | null = null;

/** A slider, and what it shows and hides with the settings. */
const refreshers: (() => void)[] = [];

function change(changed: Partial<Settings>): void {
  settings = { ...settings, ...changed };
  history.replaceState(null, '', `#${toAddress(settings)}`);
  refresh();
}

function refresh(): void {
  for (const show of refreshers) show();
  if (settings.skew === 'trace' && settings.trace !== held) {
    say(
      settings.trace === ''
        ? 'Drop a trace here, or choose its file.'
        : `Drop ${settings.trace} here: this address replays it.`,
    );
    return;
  }
  document.body.dataset.state = 'asked';
  ask({ kind: 'run', id: ++asked, settings });
}

function say(message: string): void {
  byId('message').textContent = message;
}

function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Record<string, string>,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function addChoices(): void {
  for (const { key, label, options } of CHOICES) {
    const select = element(
      'select',
      { id: key },
      ...options.map((name) => element('option', { value: name }, name)),
    );
    select.addEventListener('input', () => {
      const skew = key === 'skew' ? SKEWS[select.value as Skew] : null;
      change({ [key]: select.value, ...(skew === null ? {} : { amount: skew.initial }) });
    });
    refreshers.push(() => (select.value = settings[key]));
    byId('choices').append(element('p', {}, element('label', { for: key }, label), select));
  }
}

function addPolicies(): void {
  for (const name of POLICIES) {
    const box = element('input', { type: 'checkbox', id: name });
    box.addEventListener('input', () => {
      change({
        policies: POLICIES.filter((other) =>
          other === name ? box.checked : settings.policies.includes(other),
        ),
      });
    });
    refreshers.push(() => (box.checked = settings.policies.includes(name)));
    byId('policies').append(element('p', {}, box, element('label', { for: name }, name)));
  }
}

/** A slider moves along values, or along powers of two. */
function addSlider(setting: NumberSetting): void {
  const { key, label, help } = setting;
  const slider = element('input', { type: 'range', id: key, 'aria-describedby': `${key}-help` });
  const shown = element('output', { for: key });
  const name = element('label', { for: key }, label);
  const place = element('p', {}, name, shown, slider, element('small', { id: `${key}-help` }, help));
  const doubling = setting.step === 'doubling';
  slider.addEventListener('input', () => {
    const at = Number(slider.value);
    change({ [key]: doubling ? 2 ** at : at });
  });
  refreshers.push(() => {
    const skew = key === 'amount' ? SKEWS[settings.skew as Skew] : setting;
    const owner = /^(.*): /.exec(label)?.[1];
    place.hidden =
      skew === null || (owner !== undefined && !settings.policies.some((policy) => policy === owner));
    if (skew === null) return;
    name.textContent = skew.label;
    const value = settings[key];
    const [min, max, at] = doubling
      ? [skew.min, skew.max, value].map(Math.log2)
      : [skew.min, skew.max, value];
    slider.min = String(min);
    slider.max = String(max);
    slider.step = doubling ? '1' : String(skew.step);
    slider.value = String(at);
    shown.textContent = String(value);
    slider.setAttribute('aria-valuetext', String(value));
  });
  byId('numbers').append(place);
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
  if (data.kind === 'trace') {
    held = data.name;
    change({ skew: 'trace', trace: data.name, ...(data.model === null ? {} : { model: data.model }) });
    return;
  }
  if (data.kind === 'fault') {
    say(data.message);
    document.body.dataset.state = 'fault';
    return;
  }
  byId(data.kind === 'numbers' ? 'results' : 'pictures').innerHTML = data.html;
  if (data.kind === 'numbers') {
    result = data.result;
    say('');
  }
  byId('taken').textContent = `${data.milliseconds.toFixed(0)} ms`;
  if (data.kind === 'pictures' && data.id === asked) document.body.dataset.state = 'drawn';
};

addChoices();
addPolicies();
NUMBERS.forEach(addSlider);
byId('file').addEventListener('change', (event) => void drop((event.target as HTMLInputElement).files ?? []));
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  void drop(event.dataTransfer?.files ?? []);
});
byId('scenario').addEventListener('click', () =>
  save('playground.json', `${JSON.stringify(scenarioOf(settings), null, 2)}\n`),
);
byId('result').addEventListener('click', () => save('result.json', `${result}\n`));
window.addEventListener('hashchange', () => {
  settings = fromAddress(location.hash);
  refresh();
});
refresh();
