import type { FileCache } from './files/index.js';
import { openScenario } from './run.js';
import { TraceError } from './routing/index.js';
import { ScenarioError } from './scenario/index.js';

/** What a search sees of a recording, and what its recommendation is scored on. */
export interface Halves {
  /** Shares of the recording, as `workload.routing.part` takes them. */
  search: readonly [from: number, to: number];
  score: readonly [from: number, to: number];
  /** Steps that both have; null: as many as are asked for. */
  steps: number | null;
}

/** What of a scenario decides whether its recording can be divided. */
interface Replayed {
  workload?: { steps?: number; routing?: { kind?: string; part?: unknown; resample?: boolean } };
}

/**
 * The halves of a scenario's recording, in whole sequences; null where it replays none, names a part itself, or has
 * too few tokens for a step in each half.
 * @throws FileError where a file can't be read
 */
export async function halvesOf(scenario: Replayed, file: string, files?: FileCache): Promise<Halves | null> {
  const { workload } = scenario;
  const routing = workload?.routing;
  if (routing?.kind !== 'trace' || routing.part !== undefined) return null;
  const halves = [
    [0, 0.5],
    [0.5, 1],
  ] as const;
  const held: number[] = [];
  for (const part of halves) {
    const steps = routing.resample ? workload!.steps : undefined;
    const half = {
      ...scenario,
      policies: ['ep'],
      workload: { ...workload, steps, routing: { ...routing, part } },
    };
    try {
      held.push((await openScenario(half, { file, files })).resolved.source.steps);
    } catch (error) {
      if (error instanceof ScenarioError || error instanceof TraceError) return null;
      throw error;
    }
  }
  const [search, score] = halves;
  return { search, score, steps: routing.resample ? null : Math.min(...held) };
}
