import { balanced } from './balanced.js';
import { decodeReuse } from './decode-reuse.js';
import { dirichlet } from './dirichlet.js';
import { domains } from './domains.js';
import { gate } from './gate.js';
import type { Generator } from './generator.js';
import { hotExperts } from './hot-experts.js';
import { logNormal } from './log-normal.js';
import { lprBaseline, lprRouted } from './lpr-published.js';
import { powerLaw } from './power-law.js';
import { sourceTopics } from './source-topics.js';
import { workload } from './workload.js';
import { zipf } from './zipf.js';

/** All generators, in the order in which they are listed. */
export const generators = [
  balanced,
  hotExperts,
  zipf,
  logNormal,
  powerLaw,
  dirichlet,
  domains,
  workload,
  gate,
  lprBaseline,
  lprRouted,
  decodeReuse,
  sourceTopics,
] as const;

export type GeneratorOptions = ReturnType<(typeof generators)[number]['options']['parse']>;

/** The generator of parsed options. */
export function generatorOf(options: GeneratorOptions): Generator<GeneratorOptions> {
  const found = generators.find((generator) => generator.kind === options.kind);
  return found as unknown as Generator<GeneratorOptions>;
}
