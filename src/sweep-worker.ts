import { Tinypool } from 'tinypool';
import { FileCache, FileError, SweepFolder } from './files/index.js';
import { pointRecord, type PointRecord } from './report/index.js';
import { openScenario, runOpened } from './run.js';
import { KeptSteps } from './routing/index.js';
import { KeptRuns } from './simulation/index.js';
import type { BatchOutcome, PointTask, WorkerSetting } from './compute-sweep.js';
import { pointHash } from './open-sweep.js';
import { SweepPoints } from './sweep/index.js';

const { folder: path, manifest, files: shared } = Tinypool.workerData as WorkerSetting;
const { sweep, file, baseDir } = manifest;
const folder = new SweepFolder(path);
const points = new SweepPoints(sweep, sweep.scenario, file);
const files = new FileCache(shared);
const sources = new KeptSteps(64 * 2 ** 20);
const runs = new KeptRuns(16 * 2 ** 20);
/** Ends when the batches handed over so far are done: one is worked on after the other. */
let before: Promise<unknown> = Promise.resolve();

/**
 * Simulates points and keeps their records; one that fails is kept with its error. Runs on a worker thread, which
 * keeps what it has opened.
 */
export default function simulatePoints(tasks: readonly PointTask[]): Promise<BatchOutcome> {
  const outcome = before.then(() => simulateAll(tasks));
  before = outcome.catch(() => undefined);
  return outcome;
}

async function simulateAll(tasks: readonly PointTask[]): Promise<BatchOutcome> {
  const started = performance.now();
  const secondsSince = () => (performance.now() - started) / 1000;
  try {
    for (const { shard, point } of tasks) {
      const record = await simulate(point);
      await folder.keepPoint(shard, record.hash, JSON.stringify(record));
    }
    return { seconds: secondsSince(), stop: null };
  } catch (error) {
    if (error instanceof FileError) return { seconds: secondsSince(), stop: error.message };
    throw error;
  }
}

/** @throws FileError */
async function simulate(point: number): Promise<PointRecord> {
  const scenario = points.scenarioAt(point);
  const hash = pointHash(manifest, scenario);
  try {
    const opened = await openScenario(scenario, { file: 'scenario', baseDir, files, sources });
    return pointRecord(hash, runOpened(opened, undefined, { kept: runs }).result);
  } catch (error) {
    if (error instanceof FileError) throw error;
    return { hash, inputs: null, scenario, policies: [], error: (error as Error).message };
  }
}
