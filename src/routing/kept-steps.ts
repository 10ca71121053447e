import type { GeneratorSpec } from './generator-source.js';
import { freshSources, type RoutingSources } from './routing-sources.js';
import type { Calibration, RoutingSource, RoutingStep } from './source.js';
import type { ReplaySpec } from './token-trace-source.js';
import type { Trace } from './trace/trace.js';

/**
 * Steps kept for scenarios that ask for the same ones again, as the points of a sweep over a policy's options do: making
 * them takes longer than simulating them. They must not be written into.
 */
export class KeptSteps implements RoutingSources {
  /** By what was asked for; the one asked for longest ago first. */
  private readonly kept = new Map<string, { source: RoutingSource; bytes: number }>();
  private bytes = 0;
  /** Numbers of recordings, which are told apart by identity. */
  private readonly traces = new WeakMap<Trace, number>();
  private tracesSeen = 0;

  /** @param mostBytes of steps that are kept; a source with more makes them anew each time */
  constructor(private readonly mostBytes: number) {}

  generated(spec: GeneratorSpec): RoutingSource {
    return this.known(JSON.stringify(spec), () => freshSources.generated(spec));
  }

  replayed(trace: Trace, spec: ReplaySpec): RoutingSource {
    let number = this.traces.get(trace);
    if (number === undefined) this.traces.set(trace, (number = this.tracesSeen++));
    return this.known(JSON.stringify([number, spec]), () => freshSources.replayed(trace, spec));
  }

  private known(key: string, make: () => RoutingSource): RoutingSource {
    const known = this.kept.get(key);
    if (known) {
      this.kept.delete(key);
      this.kept.set(key, known);
      return known.source;
    }
    const made = make();
    const bytes = bytesOf(made);
    if (bytes > this.mostBytes) return made;
    const source = keepingSteps(made);
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
  const calibrations = new Map<number, Calibration>();
  return {
    ...source,
    calibration(share) {
      let known = calibrations.get(share);
      if (!known) calibrations.set(share, (known = source.calibration(share)));
      return known;
    },
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
