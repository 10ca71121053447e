/** What a task of a layer does; the labels of its graph. */
export const PHASES = [
  'host',
  'count',
  'exchange-counts',
  'plan',
  'permute',
  'weights',
  'dispatch',
  'sort',
  'experts',
  'scale',
  'combine',
  'unpermute',
  'move',
] as const;

export type Phase = (typeof PHASES)[number];

/** Label of a phase in a task graph. */
export function labelOf(phase: Phase): number {
  return PHASES.indexOf(phase);
}
