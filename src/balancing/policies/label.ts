import { policyOf, type PolicyOptions } from './index.js';

/** A policy's name, with the options that differ from their defaults: `llep(alpha=1.1)`. */
export function policyLabel(options: PolicyOptions): string {
  const defaults = policyOf(options).options.parse({ kind: options.kind }) as Record<string, unknown>;
  const changed = Object.entries(options)
    .filter(([key, value]) => value !== defaults[key])
    .map(([key, value]) => `${key}=${String(value)}`);
  return changed.length === 0 ? options.kind : `${options.kind}(${changed.join(', ')})`;
}
