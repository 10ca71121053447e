import { settled } from './limits.js';
import { CHOICES, initialSettings, NUMBERS, POLICIES, SKEWS, type Settings, type Skew } from './settings.js';

/** What differs from the initial settings, as the part of an address behind `#`. */
export function toAddress(settings: Settings): string {
  const initial = initialSettings();
  const address = new URLSearchParams();
  for (const { key } of [...CHOICES, ...NUMBERS]) {
    if (settings[key] !== initial[key]) address.set(key, String(settings[key]));
  }
  if (settings.policies.join() !== initial.policies.join()) address.set('policies', settings.policies.join());
  if (settings.skew === 'trace') address.set('trace', settings.trace);
  return address.toString();
}

/** Settings of an address. Whoever made it, they are within their limits; what is no setting is left out. */
export function fromAddress(hash: string): Settings {
  const address = new URLSearchParams(hash.replace(/^#/, ''));
  const settings = initialSettings();
  for (const { key, options } of CHOICES) {
    const value = address.get(key);
    if (value !== null && options.includes(value)) settings[key] = value;
  }
  const skew = SKEWS[settings.skew as Skew];
  if (skew !== null) settings.amount = skew.initial;
  for (const { key } of NUMBERS) {
    const text = address.get(key);
    if (text !== null && text.trim() !== '' && Number.isFinite(Number(text))) settings[key] = Number(text);
  }
  const policies = address.get('policies');
  if (policies !== null) settings.policies = POLICIES.filter((name) => policies.split(',').includes(name));
  settings.trace = settings.skew === 'trace' ? (address.get('trace') ?? '').slice(0, 200) : '';
  return settled(settings);
}
