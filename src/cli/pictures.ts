import { gzipSync } from 'node:zlib';
import { policyLabel } from '../balancing/index.js';
import { strategyLabel } from '../execution/index.js';
import { writeWhole } from '../files/index.js';
import { chromeTrace } from '../report/index.js';
import type { OpenedScenario } from '../run.js';
import { Recorder, type Result } from '../simulation/index.js';
import { UsageError } from './input-error.js';

/** What the pictures of a run are to show. */
export interface TimelineOptions {
  /** Where the timeline goes; undefined: none. */
  timeline?: string;
  /** As `0,4-7`; default: the last step. */
  timelineSteps?: string;
  /** Names or kinds of policies, by comma; default: all. */
  timelinePolicies?: string;
}

/** Name of the recording beside a kept result. */
export const RECORDING_FILE = 'recording.json.gz';

/** A recorder of the last step that can be seen, which is past every warm-up, under all policies. */
export function lastStepRecorder(opened: OpenedScenario): Recorder {
  const { source } = opened.resolved;
  return new Recorder({ layers: source.layerIds, gpus: source.gpus, steps: [stepsSeen(opened) - 1] });
}

/** Steps that a recorder sees: with faults those before the first one, which the result's tables are of. */
function stepsSeen({ resolved: { source, faults } }: OpenedScenario): number {
  return Math.min(source.steps, ...faults.map(({ atStep }) => atStep));
}

/** What a run simulates that no timeline shows, where nobody chose something else. */
function neverShown(
  { resolved }: OpenedScenario,
  { timelineSteps, timelinePolicies }: TimelineOptions,
): string[] {
  const { source, faults, offload } = resolved;
  const first = Math.min(...faults.map(({ atStep }) => atStep));
  return [
    ...(faults.length > 0 && timelineSteps === undefined
      ? [`steps ${first} to ${source.steps - 1}, after the first of cluster.faults, which change the machine`]
      : []),
    ...(offload !== null && timelinePolicies === undefined
      ? [
          `the strategies of offload (${offload.strategies.map(strategyLabel).join('; ')}), which are no policies`,
        ]
      : []),
  ];
}

/** A recording as it is kept. */
export function zippedRecording(recorder: Recorder): Uint8Array {
  return gzipSync(JSON.stringify(recorder.recording()));
}

/** A timeline while its scenario runs. */
export interface Timeline {
  recorder: Recorder;
  /** What of the run it will not show, whatever the recorder sees. */
  leftOut: string[];
}

/**
 * What takes a timeline down; null where none is asked for.
 * @throws UsageError
 */
export function startTimeline(opened: OpenedScenario, options: TimelineOptions): Timeline | null {
  const { timeline, timelineSteps, timelinePolicies } = options;
  if (timeline === undefined) {
    if (timelineSteps === undefined && timelinePolicies === undefined) return null;
    const given = timelineSteps === undefined ? '--timeline-policies' : '--timeline-steps';
    throw new UsageError(`${given}: found no --timeline, allowed: together with --timeline <file>`);
  }
  const { source } = opened.resolved;
  const recorder = new Recorder({
    layers: source.layerIds,
    gpus: source.gpus,
    steps: timelineSteps === undefined ? [stepsSeen(opened) - 1] : stepsOf(timelineSteps, opened),
    policies: timelinePolicies === undefined ? null : policiesOf(timelinePolicies, opened),
  });
  return { recorder, leftOut: neverShown(opened, options) };
}

/** Writes a timeline, gzipped where its name says so. @throws FileError */
export async function writeTimeline(path: string, timeline: Timeline, result: Result): Promise<void> {
  const recording = timeline.recorder.recording();
  const leftOut = [...(recording.leftOut === null ? [] : [recording.leftOut]), ...timeline.leftOut];
  const trace = chromeTrace(
    { ...recording, leftOut: leftOut.length === 0 ? null : leftOut.join('; ') },
    result.policies.map(({ policy }) => policyLabel(policy)),
    { scenario: result.scenario.name ?? 'unnamed scenario', epsim: result.version, inputs: result.inputs },
  );
  const text = JSON.stringify(trace);
  await writeWhole(path, path.endsWith('.gz') ? gzipSync(text) : text);
  if (leftOut.length > 0) console.error(`${path}: left out ${leftOut.join('; ')}`);
}

/** "0,4-7" as numbers of steps. @throws UsageError */
function stepsOf(text: string, opened: OpenedScenario): number[] {
  const steps = stepsSeen(opened);
  const { source } = opened.resolved;
  const why = steps < source.steps ? ', the last one before cluster.faults change the machine' : '';
  const chosen = new Set<number>();
  for (const part of text.split(',')) {
    const range = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? range?.[1]);
    if (range === null || first > last || last >= steps) {
      throw new UsageError(
        `--timeline-steps: found ${JSON.stringify(part)}, allowed: numbers of steps and ranges, as 0,4-7, up to ${steps - 1}${why}`,
      );
    }
    for (let step = first; step <= last; step++) chosen.add(step);
  }
  return [...chosen].sort((a, b) => a - b);
}

/** Indices of policies by name or kind. @throws UsageError */
function policiesOf(text: string, { resolved }: OpenedScenario): number[] {
  const known = resolved.policies.map(({ options }) => [policyLabel(options), options.kind]);
  // A label has commas of its own where it has several options.
  const whole = known.flatMap((names, i) => (names.includes(text.trim()) ? [i] : []));
  if (whole.length > 0) return whole;
  const chosen = text.split(',').flatMap((part) => {
    const found = known.flatMap((names, i) => (names.includes(part.trim()) ? [i] : []));
    if (found.length > 0) return found;
    throw new UsageError(
      `--timeline-policies: found ${JSON.stringify(part)}, allowed: ${known.map(([label]) => label).join(', ')}`,
    );
  });
  return [...new Set(chosen)];
}
