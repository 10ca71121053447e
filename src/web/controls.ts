import { policies } from '../balancing/index.js';
import { CHOICE_HELP, sentence } from './choice-help.js';
import { byId, element, setText } from './element.js';
import { limitsOf } from './limits.js';
import {
  CHOICES,
  NUMBERS,
  POLICIES,
  SKEWS,
  type ChoiceSetting,
  type NumberSetting,
  type PolicyName,
  type Settings,
  type Skew,
} from './settings.js';

/** Takes what a control changes. */
type Change = (changed: Partial<Settings>) => void;

/** Makes a control show the settings. */
type Show = (settings: Settings) => void;

/**
 * Adds all controls to the page.
 * @returns what makes them show settings
 */
export function addControls(change: Change): Show {
  let shown: Settings;
  const boxes = POLICIES.map((name) => addPolicy(name, () => shown.policies, change));
  const shows = [
    ...CHOICES.map((choice) => addChoice(choice, change)),
    ...boxes,
    ...NUMBERS.map((number) => addSlider(number, change)),
  ];
  return (settings) => {
    shown = settings;
    for (const show of shows) show(settings);
  };
}

function addChoice({ key, label, options }: ChoiceSetting, change: Change): Show {
  const select = element(
    'select',
    { id: key, 'aria-describedby': `${key}-help` },
    ...options.map((name) => element('option', { value: name }, name)),
  );
  const help = element('small', { id: `${key}-help` });
  select.addEventListener('input', () => {
    const skew = key === 'skew' ? SKEWS[select.value as Skew] : null;
    change({ [key]: select.value, ...(skew === null ? {} : { amount: skew.initial }) });
  });
  byId('choices').append(element('p', {}, element('label', { for: key }, label), select, help));
  return (settings) => {
    select.value = settings[key];
    setText(help, CHOICE_HELP[key](settings));
  };
}

function addPolicy(name: PolicyName, chosen: () => readonly PolicyName[], change: Change): Show {
  const box = element('input', { type: 'checkbox', id: name, 'aria-describedby': `${name}-help` });
  const { summary } = policies.find(({ kind }) => kind === name)!;
  const help = element('small', { id: `${name}-help` }, sentence(summary));
  box.addEventListener('input', () => {
    const others = chosen();
    change({
      policies: POLICIES.filter((other) => (other === name ? box.checked : others.includes(other))),
    });
  });
  byId('policies').append(element('p', {}, box, element('label', { for: name }, name), help));
  return (settings) => {
    box.checked = settings.policies.includes(name);
  };
}

/** A slider moves along values, or along powers of two. */
function addSlider(setting: NumberSetting, change: Change): Show {
  const { key, label, help } = setting;
  const slider = element('input', { type: 'range', id: key, 'aria-describedby': `${key}-help` });
  const output = element('output', { for: key });
  const name = element('label', { for: key }, label);
  const place = element('p', {}, name, output, slider, element('small', { id: `${key}-help` }, help));
  const doubling = setting.step === 'doubling';
  const owner = /^(.*): /.exec(label)?.[1];
  slider.addEventListener('input', () => {
    const at = Number(slider.value);
    change({ [key]: doubling ? 2 ** at : at });
  });
  byId('numbers').append(place);
  return (settings) => {
    const limits = limitsOf(setting, settings);
    const unused = owner !== undefined && !settings.policies.some((policy) => policy === owner);
    place.hidden = limits === null || unused;
    if (limits === null) return;
    setText(name, limits.label);
    const value = settings[key];
    const numbers = [limits.min, limits.max, value];
    const [min, max, at] = doubling ? numbers.map(Math.log2) : numbers;
    slider.min = String(min);
    slider.max = String(max);
    slider.step = doubling ? '1' : String(limits.step);
    slider.value = String(at);
    setText(output, String(value));
    slider.setAttribute('aria-valuetext', String(value));
  };
}
