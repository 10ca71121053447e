import { countTraceSource } from './count-trace-source.js';
import { generatorSource, type GeneratorSpec } from './generator-source.js';
import type { RoutingSource } from './source.js';
import { tokenTraceSource, type ReplaySpec } from './token-trace-source.js';
import type { Trace } from './trace/trace.js';

/** What makes the steps of a run. */
export interface RoutingSources {
  /** Steps of a generator. */
  generated(spec: GeneratorSpec): RoutingSource;
  /**
   * Steps of a recording.
   * @throws TraceError where it does not hold what the replay asks for
   */
  replayed(trace: Trace, spec: ReplaySpec): RoutingSource;
}

/** Makes every step anew. */
export const freshSources: RoutingSources = {
  generated: generatorSource,
  replayed: (trace, spec) =>
    trace.kind === 'counts' ? countTraceSource(trace, spec) : tokenTraceSource(trace, spec),
};
