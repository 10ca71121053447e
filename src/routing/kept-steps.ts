import type { GeneratorSpec } from './generator-source.js';
import { freshSources, type RoutingSources } from './routing-sources.js';
import type { Calibration, LayerBatch, RoutingSource, RoutingStep } from './source.js';
import type { ReplaySpec } from './token-trace-source.js';
import type { Trace } from './trace/trace.js';

/**
 * Steps kept for scenarios that ask for the same ones again, as the points of a sweep over a policy's options do: making
 * them takes longer than simulating them. They must not be written into.
 */
export class KeptSteps implements RoutingSources {
  /** By what was asked for; the one asked for longest ago first. */
  private readonly kept = new Map<string, Kept>();
  private bytes = 0;
  /** Numbers of recordings, which are told apart by identity. */
  private readonly traces = new WeakMap<Trace, number>();
  private tracesSeen = 0;

  /** @param mostBytes of steps that are kept; a source with more makes them anew each time */
  constructor(private readonly mostBytes: number) {}

  generated(spec: GeneratorSpec): RoutingSource {
    return this.known(JSON.stringify(spec), () => freshSources.generated(spec));
  }

  /** The recording itself is held as long as steps of it are kept. */
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
    const bytes = expectedBytes(made);
    if (bytes > this.mostBytes) return made;
    const kept: Kept = { source: made, bytes: 0, used: 0 };
    kept.source = keepingSteps(made, (more) => this.use(key, kept, more));
    this.kept.set(key, kept);
    this.reserve(key, kept, bytes);
    return kept.source;
  }

  /** @returns whether what takes so many bytes more may be kept */
  private use(key: string, kept: Kept, bytes: number): boolean {
    if (this.kept.get(key) !== kept) return false;
    kept.used += bytes;
    return this.reserve(key, kept, Math.max(0, kept.used - kept.bytes));
  }

  /** Makes room, giving up other steps first, and these last. */
  private reserve(key: string, kept: Kept, bytes: number): boolean {
    kept.bytes += bytes;
    this.bytes += bytes;
    for (const oldest of this.kept.keys()) {
      if (this.bytes <= this.mostBytes) return true;
      if (oldest !== key) this.giveUp(oldest);
    }
    if (this.bytes > this.mostBytes) this.giveUp(key);
    return this.kept.has(key);
  }

  private giveUp(key: string): void {
    this.bytes -= this.kept.get(key)!.bytes;
    this.kept.delete(key);
  }
}

/** Of a copy: an order of the copies that policies keep beside a table that lasts. */
const ORDER_BYTES = Int32Array.BYTES_PER_ELEMENT;

interface Kept {
  source: RoutingSource;
  /** Reserved for its steps and calibrations, and in use. */
  bytes: number;
  used: number;
}

/** Bytes of all steps as far as a source says: those of a recording may differ in size. */
function expectedBytes({
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
  const token = hasTokens ? topK * (2 + (hasGateWeights ? 4 : 0) + ORDER_BYTES) + 2 + 6 * candidates : 0;
  return steps * layerIds.length * gpus * (experts * 4 + tokensPerGpu * token);
}

function bytesOfLayers(layers: readonly LayerBatch[]): number {
  let bytes = 0;
  for (const { counts, tokens, padding } of layers) {
    bytes += counts.byteLength + (padding?.byteLength ?? 0);
    if (tokens === null) continue;
    const { experts, source, weights, candidates } = tokens;
    bytes += experts.byteLength + source.byteLength + (weights?.byteLength ?? 0);
    bytes += experts.length * ORDER_BYTES;
    if (candidates) bytes += candidates.experts.byteLength + candidates.scores.byteLength;
  }
  return bytes;
}

/** @param mayKeep whether there is room for so many bytes more */
function keepingSteps(source: RoutingSource, mayKeep: (bytes: number) => boolean): RoutingSource {
  const steps: RoutingStep[] = [];
  const calibrations = new Map<number, Calibration>();
  let keeps = true;
  return {
    ...source,
    calibration(share) {
      const known = calibrations.get(share);
      if (known) return known;
      const calibration = source.calibration(share);
      if (mayKeep(bytesOfLayers(calibration.layers))) calibrations.set(share, calibration);
      return calibration;
    },
    start() {
      const stream = steps.length < source.steps ? source.start() : null;
      let at = 0;
      return {
        next() {
          if (at === source.steps) return null;
          const step = stream?.next() ?? steps[at];
          if (keeps && at === steps.length) {
            keeps = mayKeep(bytesOfLayers(step.layers));
            if (keeps) steps.push(lastingCopy(step));
            else steps.length = 0;
          }
          at++;
          return steps[at - 1] ?? step;
        },
      };
    },
  };
}

function lastingCopy(step: RoutingStep): RoutingStep {
  const copy = structuredClone(step);
  for (const { tokens } of copy.layers) if (tokens !== null) tokens.lasting = true;
  return copy;
}
