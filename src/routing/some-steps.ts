import type { RoutingSource } from './source.js';

/** Some of a source's steps, from one up to, and without, another; numbered from 0. */
export function someSteps(source: RoutingSource, from: number, until: number): RoutingSource {
  if (from === 0 && until === source.steps) return source;
  return {
    ...source,
    steps: until - from,
    resample: null,
    start() {
      const stream = source.start();
      for (let skipped = 0; skipped < from; skipped++) stream.next();
      let step = 0;
      return { next: () => (step < until - from ? { ...stream.next()!, step: step++ } : null) };
    },
  };
}
