/** A policy, or a combination of choices, that can't run here. */
export class RefusalError extends Error {
  override name = 'RefusalError';

  /** @param path of the scenario, as `policies[2].bits` */
  constructor(
    readonly path: string,
    readonly found: string,
    readonly allowed: string,
  ) {
    super(`${path}: found ${found}, allowed: ${allowed}`);
  }
}
