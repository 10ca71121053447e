import { gzipSync } from 'node:zlib';
import { policyLabel } from '../balancing/index.js';
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

/** A recorder of the last step, which is past every warm-up, under all policies. */
export function lastStepRecorder({ resolved: { source } }: OpenedScenario): Recorder {
  return new Recorder({ layers: source.layerIds, gpus: source.gpus, steps: [source.steps - 1] });
}

/** A recording as it is kept. */
export function zippedRecording(recorder: Recorder): Uint8Array {
  return gzipSync(JSON.stringify(recorder.recording()));
}

/**
 * A recorder of what a timeline is to show; null where none is asked for.
 * @throws UsageError
 */
export function timelineRecorder(opened: OpenedScenario, options: TimelineOptions): Recorder | null {
  const { timeline, timelineSteps, timelinePolicies } = options;
  if (timeline === undefined) {
    if (timelineSteps === undefined && timelinePolicies === undefined) return null;
    const given = timelineSteps === undefined ? '--timeline-policies' : '--timeline-steps';
    throw new UsageError(`${given}: found no --timeline, allowed: together with --timeline <file>`);
  }
  const { source } = opened.resolved;
  return new Recorder({
    layers: source.layerIds,
    gpus: source.gpus,
    steps: timelineSteps === undefined ? [source.steps - 1] : stepsOf(timelineSteps, source.steps),
    policies: timelinePolicies === undefined ? null : policiesOf(timelinePolicies, opened),
  });
}

/** Writes a timeline, gzipped where its name says so. @throws FileError */
export async function writeTimeline(path: string, recorder: Recorder, result: Result): Promise<void> {
  const recording = recorder.recording();
  const trace = chromeTrace(
    recording,
    result.policies.map(({ policy }) => policyLabel(policy)),
    { scenario: result.scenario.name ?? 'unnamed scenario', epsim: result.version, inputs: result.inputs },
  );
  const text = JSON.stringify(trace);
  await writeWhole(path, path.endsWith('.gz') ? gzipSync(text) : text);
  if (recording.leftOut !== null) console.error(`${path}: left out ${recording.leftOut}`);
}

/** "0,4-7" as numbers of steps. @throws UsageError */
function stepsOf(text: string, steps: number): number[] {
  const chosen = new Set<number>();
  for (const part of text.split(',')) {
    const range = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? range?.[1]);
    if (range === null || first > last || last >= steps) {
      throw new UsageError(
        `--timeline-steps: found ${JSON.stringify(part)}, allowed: numbers of steps and ranges, as 0,4-7, up to ${steps - 1}`,
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
