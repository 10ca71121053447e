import { NUMBERS, SKEWS, type NumberSetting, type Settings, type Skew } from './settings.js';

/** What a slider may show. */
export type Limits = Pick<NumberSetting, 'label' | 'min' | 'max' | 'step'>;

/** Limits of a number beside the other settings; null where it has no meaning. */
export function limitsOf(setting: NumberSetting, settings: Settings): Limits | null {
  if (setting.key === 'amount') return SKEWS[settings.skew as Skew];
  const { label, min, max, step, most } = setting;
  return { label, min, max: Math.min(max, most?.(settings) ?? max), step };
}

/** The settings with every number within its limits, so that no run is refused for one. */
export function settled(settings: Settings): Settings {
  const own = { ...settings };
  // In the order of the list: what limits a number stands before it.
  for (const setting of NUMBERS) {
    const limits = limitsOf(setting, own);
    own[setting.key] = limits === null ? setting.initial : within(own[setting.key], limits);
  }
  return own;
}

function within(value: number, { min, max, step }: Limits): number {
  const limited = Math.min(max, Math.max(min, value));
  if (step === 'doubling') return 2 ** Math.round(Math.log2(limited));
  return Number((Math.round(limited / step) * step).toFixed(6));
}
