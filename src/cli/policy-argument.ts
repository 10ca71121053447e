import { UsageError } from './input-error.js';

/** Reads `llep`, `llep:alpha=1.1,gate=expert` or JSON; the scenario's schema checks what it says. */
export const parsePolicyArgument = (text: string): unknown => parseChoice(text, '--policy');

/**
 * Reads a kind, a kind with options or JSON.
 * @param option what messages call it
 */
export function parseChoice(text: string, option: string): unknown {
  if (text.startsWith('{')) {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new UsageError(`${option}: found ${text} (${(error as Error).message}), allowed: JSON`);
    }
  }
  const [kind, settings] = text.split(/:(.*)/s);
  if (settings === undefined) return kind;
  const options = settings.split(',').map((setting) => {
    const [key, value] = setting.split(/=(.*)/s);
    if (value === undefined) throw new UsageError(`${option}: found '${setting}', allowed: option=value`);
    return [key, parseValue(value)] as const;
  });
  return { kind, ...Object.fromEntries(options) };
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
