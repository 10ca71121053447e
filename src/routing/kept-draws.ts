import { generatorSource, type GeneratorSpec } from './generator-source.js';
import type { Calibration, RoutingSource, RoutingStep } from './source.js';

/**
 * Generated steps, kept for scenarios that ask for the same ones again, as the points of a sweep over a policy's
 * options do: drawing a batch takes longer than simulating it.
 */
export class KeptDraws {
  /** By what was asked for; the one asked for longest ago first. */
  private readonly kept = new Map<string, { source: RoutingSource; bytes: number }>();
  private bytes = 0;

  /** @param mostBytes of steps that are kept; a source with more is drawn anew each time */
  constructor(private readonly mostBytes: number) {}

  /** What `generatorSource` gives; its steps must not be written into. */
  source(spec: GeneratorSpec): RoutingSource {
    const key = JSON.stringify(spec);
    const known = this.kept.get(key);
    if (known) {
      this.kept.delete(key);
      this.kept.set(key, known);
      return known.source;
    }
    const drawn = generatorSource(spec);
    const bytes = bytesOf(drawn);
    if (bytes > this.mostBytes) return drawn;
    const source = keepingSteps(drawn);
    this.kept.set(key, { source, bytes });
    this.bytes += bytes;
    for (const [oldest, { bytes: freed }] of this.kept) {
      if (this.bytes <= this.mostBytes) break;
      this.kept.delete(oldest);
      this.bytes -= freed;
    }
    return source;
  }
}

/** Bytes of all steps: counts, and tables of tokens (expert and weight of every copy and candidate, source of every token). */
function bytesOf({
  steps,
  layerIds,
  gpus,
  experts,
  topK,
  tokensPerGpu,
  hasTokens,
  hasGateWeights,
  candidates = 0,
}: RoutingSource): number {
  const token = hasTokens ? topK * (2 + (hasGateWeights ? 4 : 0)) + 2 + 6 * candidates : 0;
  return steps * layerIds.length * gpus * (experts * 4 + tokensPerGpu * token);
}

function keepingSteps(source: RoutingSource): RoutingSource {
  const steps: RoutingStep[] = [];
  let calibration: Calibration | null = null;
  return {
    ...source,
    // A generator's calibration is a step of its own, whatever share is asked for.
    calibration: (share) => (calibration ??= source.calibration(share)),
    start() {
      const stream = steps.length < source.steps ? source.start() : null;
      let at = 0;
      return {
        next() {
          if (at === source.steps) return null;
          const step = stream?.next() ?? steps[at];
          if (at === steps.length) steps.push(structuredClone(step));
          return steps[at++];
        },
      };
    },
  };
}
