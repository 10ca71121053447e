import type { Offline, Variant } from './question.js';

/** What of a scenario decides how its routing is divided. */
export interface Divided {
  /** Kind of the routing. */
  routing: string;
  /** Of the scenario; generated routing always has them. */
  steps?: number;
  seed: number | string;
  hasFaults: boolean;
}

/** Which part of the routing a run is over. */
export interface Part {
  /** Values by path, as `--set` takes them. */
  set: Record<string, unknown>;
  /** What policies plan from that plan ahead. */
  offline: Offline;
}

/** The first quarter of a recording plans what the second quarter chooses by. */
const CHOOSE = { share: 0.25, part: [0.25, 0.5] } as const;
/** Replicates for intervals over sequences; each run takes as many times its own time. */
const REPLICATES = 20;

/** What plans for scored steps are made from: the first half of a recording, or a draw of its own. */
export const SCORED: Offline = { kind: 'calibration', share: 0.5 };

/**
 * The part of the routing that choices are made from, or that answers are scored on. Generated routing is scored as the
 * scenario has it, and chosen from the steps that follow: one seed holds one popularity of the experts, and each step
 * has draws of its own.
 */
export function partOf(use: 'choose' | 'score', { set = {} }: Variant, divided: Divided): Part {
  const { routing, seed, hasFaults } = divided;
  if (routing === 'trace') {
    if (use === 'score') return { set: { resamples: REPLICATES }, offline: SCORED };
    return {
      set: { 'workload.routing.part': CHOOSE.part, resamples: 0 },
      offline: { kind: 'calibration', share: CHOOSE.share },
    };
  }
  if (use === 'score') return { set: {}, offline: SCORED };
  // A twin's popularity is its file's, and how it is cut into steps hangs on their number.
  if (routing === 'twin') return { set: { seed: `${seed}/choose` }, offline: SCORED };
  const steps = (set['workload.steps'] as number | undefined) ?? divided.steps!;
  return {
    set: {
      'workload.steps': 2 * steps,
      'workload.warmupSteps': steps,
      // Only what comes before the first fault is compared.
      ...(hasFaults ? { 'cluster.faults': [] } : {}),
    },
    offline: SCORED,
  };
}

/** What plans, choices and scores are made from, in words. */
export function heldOut(routing: string): string {
  const best =
    'no plan and none of these choices has seen the tokens that it is scored on; other answers name the best of what they scored';
  if (routing === 'trace') {
    return (
      'of the recording, the first quarter plans what redundancy, replica choice and interval are chosen by on the second, ' +
      `and the first half plans what the second scores: ${best}`
    );
  }
  const draws =
    routing === 'twin'
      ? "on another seed's draws of the same twin"
      : "on the steps that follow the scenario's own, of the same popularity where its seed draws one";
  return `routing is generated: redundancy, replica choice and interval are chosen ${draws}, and placements are planned from a draw of their own: ${best}`;
}
