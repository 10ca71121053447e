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
