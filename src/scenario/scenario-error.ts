/** What an error of a room says: where inside the value that was given, what was found, what is allowed. */
export interface ErrorParts {
  /** Empty where the message names no place. */
  path: string;
  found: string;
  allowed: string;
}

/**
 * Takes a message apart that reads `path: found this, allowed: that`, or else `what is wrong; what helps`.
 * @param value what was given, shown where the message does not say what it found
 */
export function partsOf(message: string, value: string): ErrorParts {
  const [, path, found, allowed] = /^(?:([\w.[\]]+): )?found (.*), allowed: (.*)$/s.exec(message) ?? [];
  if (found !== undefined) return { path: path ?? '', found, allowed };
  const [, wrong, helps] = /^(.*?); (.*)$/s.exec(message) ?? [];
  if (wrong !== undefined) return { path: '', found: `${value} (${wrong})`, allowed: helps };
  return { path: '', found: `${value} (${message})`, allowed: 'another value' };
}

/** A scenario that can't be run: where, what was found, and what is allowed. */
export class ScenarioError extends Error {
  override name = 'ScenarioError';

  constructor(
    readonly file: string,
    readonly path: string,
    readonly found: string,
    readonly allowed: string,
  ) {
    super(`${file}${path ? `: ${path}` : ''}: found ${found}, allowed: ${allowed}`);
  }
}
