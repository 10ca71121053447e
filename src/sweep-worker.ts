import { Tinypool } from 'tinypool';
import { FileCache, FileError, SweepFolder } from './files/index.js';
import { pointRecord, type PointRecord } from './report/index.js';
import { openScenario, runOpened } from './run.js';
import { KeptDraws } from './routing/index.js';
import { recordLine, type PointOutcome, type PointTask, type WorkerSetting } from './compute-sweep.js';
import { pointHash } from './open-sweep.js';
import { SweepPoints } from './sweep/index.js';

const { folder: path, manifest, files: shared } = Tinypool.workerData as WorkerSetting;
const { sweep, file, baseDir } = manifest;
const folder = new SweepFolder(path);
const points = new SweepPoints(sweep, sweep.scenario, file);
const files = new FileCache(shared);
const draws = new KeptDraws(64 * 2 ** 20);

/**
 * Simulates a point and keeps its record; one that fails is kept with its error. Runs on a worker thread, which
 * keeps what it has opened.
 */
export default async function simulatePoint({ shard, point }: PointTask): Promise<PointOutcome> {
  try {
    const record = await simulate(point);
    await folder.keepPoint(shard, record.hash, recordLine(record));
    return { failed: record.error !== null };
  } catch (error) {
    if (error instanceof FileError) return { stop: error.message };
    throw error;
  }
}

/** @throws FileError */
async function simulate(point: number): Promise<PointRecord> {
  const scenario = points.scenarioAt(point);
  const hash = pointHash(manifest, scenario);
  try {
    const opened = await openScenario(scenario, { file: 'scenario', baseDir, files, draws });
    return pointRecord(hash, runOpened(opened).result);
  } catch (error) {
    if (error instanceof FileError) throw error;
    return { hash, inputs: null, scenario, policies: [], error: (error as Error).message };
  }
}
