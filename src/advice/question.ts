import type { PlacementMap, PolicyInput, PolicyOptions } from '../balancing/index.js';
import type { RuntimeOptions } from '../execution/index.js';
import type { MoeShape } from '../model/index.js';
import type { Result } from '../simulation/index.js';

/** Planned once before the run, from a part of the recording that is not replayed. */
export interface Offline {
  kind: 'calibration';
  share: number;
}

/** A run that an answer rests on: the scenario with some values set and other policies. */
export interface Variant {
  /** Values by path, as `--set` takes them. */
  set?: Readonly<Record<string, unknown>>;
  /** @param offline the history of policies that plan ahead */
  policies(offline: Offline): PolicyInput[];
  /** Placement maps by the paths that its policies name. */
  maps?: ReadonlyMap<string, PlacementMap>;
}

/** A run and the command that repeats it. */
export interface Ran {
  result: Result;
  command: string;
}

/** What a question may ask and use. */
export interface Desk {
  shape: MoeShape;
  gpus: number;
  gpusPerNode: number;
  /** Layers of the routing. */
  layers: number;
  phase: 'prefill' | 'decode';
  tokensPerGpu: number;
  routing: string;
  scope: 'layer' | 'model';
  runtime: RuntimeOptions;
  /** A policy's options as the scenario lists them, yardsticks and anchors left out. */
  listed: readonly PolicyOptions[];
  /** Bytes of one expert of one layer. */
  expertBytes: number;
  /** Bytes of the KV cache of one token in all layers; null where the shape does not say. */
  cacheBytesPerToken: number | null;
  /** The other trace, where one was given. */
  other: string | null;
  /**
   * Runs on what choices are made from: the second quarter of a recording, with placements planned from the first; of
   * generated routing the steps that follow the scenario's own.
   */
  choose(variant: Variant): Promise<Ran>;
  /**
   * Runs on what answers are scored on, which no plan and no choice of `choose` has seen: the second half of a
   * recording, with placements planned from the first; of generated routing the scenario's own steps.
   */
  score(variant: Variant): Promise<Ran>;
  /** Plans a policy from the first half of the recording and runs its placement on the other trace. */
  scoreOnOther(policies: (offline: Offline, map: string) => PolicyInput[]): Promise<Ran>;
}

/** An answer with its numbers. */
export interface Answer {
  /** With figures and interval. */
  sentence: string;
  /** What it rests on: rows with the same columns. */
  rows: Readonly<Record<string, string | number | null>>[];
  /** Commands that repeat its runs, the one that gives the figures last. */
  commands: string[];
}

/** A question that users ask. */
export interface Question {
  /** Its name on the command line. */
  name: string;
  /** In words. */
  asks: string;
  /** @throws Unanswerable where this scenario can't answer it; what a run refuses counts as that, too */
  answer(desk: Desk): Promise<Answer>;
}

/** Why a scenario can't answer a question. */
export class Unanswerable extends Error {
  override name = 'Unanswerable';
}

/** A question with its answer, or why there is none. */
export type Advised = Pick<Question, 'name' | 'asks'> & {
  /** What a reader of its figures must know: of the runs, and of what was changed for them. */
  notes: string[];
} & ({ answer: Answer; because: null } | { answer: null; because: string });

/** Answers to all questions. */
export interface Advice {
  schema: 'epsim/advice@1';
  version: string;
  /** The scenario as its file (and `--set`) has it. */
  scenario: { name?: string };
  /** What plans, choices and scores are made from. */
  heldOut: string;
  questions: Advised[];
}
