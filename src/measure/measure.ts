import { caseKey, longRunCases, type Case, type MeasurementPlan } from '../calibration/index.js';
import { BackendError, CaseRefused, type OpenDevice } from './backend.js';
import { MeasurementsFile } from './measurements-file.js';

export interface MeasureSetting {
  plan: MeasurementPlan;
  device: OpenDevice;
  /** Name and version of who measures. */
  source: { name: string; version: string };
  /** The file, which is gone on with where it is there. */
  out: string;
  /** Ends after the last whole row; the case that is being timed is lost. */
  signal?: AbortSignal;
  /** Called before every case that is timed, with the number of cases done with and of all. */
  onCase?: (done: number, of: number, wanted: Case) => void;
}

/** A case without a row, and why. */
export interface Left {
  case: Case;
  why: string;
}

export interface MeasureOutcome {
  /** Rows added. */
  timed: number;
  /** Cases of the plan that the file already had. */
  kept: number;
  /** Cases that the device cannot time. */
  refused: Left[];
  /** Cases at which it failed. */
  failed: Left[];
  /** Cases not reached: interrupted, or given up after failures. */
  left: number;
}

/** Failures one after the other that say that the device is at fault, and not the cases. */
const PATIENCE = 3;

/**
 * Times the cases of a plan that a file lacks, and writes the file after every row.
 * @throws FileError where the file can't be gone on with, or written
 */
export async function measure(setting: MeasureSetting): Promise<MeasureOutcome> {
  const { plan, device, source, out, signal, onCase } = setting;
  const file = await MeasurementsFile.open(out, {
    source: { ...source, licence: 'own' },
    device: device.device,
    software: device.software,
  });
  const there = file.cases;
  const refused = plan.cases.flatMap((wanted): Left[] => {
    const why = device.refusal(wanted);
    return why === null ? [] : [{ case: wanted, why }];
  });
  const beyond = new Set(refused.map((one) => one.case));
  const possible = plan.cases.filter((wanted) => !beyond.has(wanted));
  const long = longRunCases(possible);
  const missing = possible.filter((wanted) => !there.has(caseKey(wanted)));
  const failed: Left[] = [];
  const outcome = { timed: 0, kept: possible.length - missing.length, refused, failed, left: 0 };

  let failures = 0;
  for (const [done, wanted] of missing.entries()) {
    if (signal?.aborted || failures === PATIENCE) return { ...outcome, left: missing.length - done };
    onCase?.(done, missing.length, wanted);
    const { repeats, warmup } = plan;
    const longRunSeconds = long.has(wanted) ? plan.longRunSeconds : 0;
    try {
      const row = await unlessAborted(device.time(wanted, { repeats, warmup, longRunSeconds }), signal);
      if (row === null) return { ...outcome, left: missing.length - done };
      await file.add(row);
      outcome.timed++;
      failures = 0;
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      const refusal = error instanceof CaseRefused;
      (refusal ? refused : failed).push({ case: wanted, why: error.message });
      failures = refusal ? 0 : failures + 1;
    }
  }
  return outcome;
}

/** What is promised, or null if the signal comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T | null> {
  if (!signal) return promise;
  // Whoever closes the device after an interruption makes the case that nobody waits for fail.
  promise.catch(() => undefined);
  if (signal.aborted) return null;
  let stop!: () => void;
  const aborted = new Promise<null>((resolve) => {
    stop = () => resolve(null);
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
