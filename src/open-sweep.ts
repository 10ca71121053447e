import { dirname, resolve } from 'node:path';
import { FileCache, FileError, hashOf, readJson, SweepFolder, writeWhole } from './files/index.js';
import { computedBy, openFiles } from './run.js';
import { ScenarioError } from './scenario/index.js';
import {
  defaultPointsPerShard,
  parseManifest,
  parseSweep,
  shardAt,
  shardCount,
  SweepPoints,
  type Manifest,
  type Shard,
} from './sweep/index.js';

/** A sweep whose points are known and whose files are open. */
export interface OpenedSweep {
  manifest: Manifest;
  points: SweepPoints;
  files: FileCache;
}

/** A sweep in its folder. */
export interface StartedSweep extends OpenedSweep {
  folder: SweepFolder;
}

/**
 * Opens a sweep's file.
 * @param pointsPerShard null: as `defaultPointsPerShard` says
 * @throws ScenarioError, TraceError or FileError
 */
export async function openSweep(file: string, pointsPerShard: number | null = null): Promise<OpenedSweep> {
  return prepareSweep(await readJson(file), file, pointsPerShard);
}

/**
 * Checks a sweep and opens the files that its scenarios name.
 * @param file the sweep's name, for messages, whose folder paths start at
 * @param pointsPerShard null: as `defaultPointsPerShard` says
 * @throws ScenarioError, TraceError or FileError
 */
export async function prepareSweep(
  input: unknown,
  file: string,
  pointsPerShard: number | null = null,
): Promise<OpenedSweep> {
  const sweep = parseSweep(input, file);
  const scenarioFile =
    typeof sweep.scenario === 'string' ? resolve(dirname(file), sweep.scenario) : resolve(file);
  const scenario = withoutSchema(
    typeof sweep.scenario === 'string' ? await readJson(scenarioFile) : sweep.scenario,
    scenarioFile,
  );
  const inline = withoutSchema({ ...sweep, scenario }, file) as Manifest['sweep'];
  const points = new SweepPoints(inline, scenario, file);
  const baseDir = dirname(scenarioFile);
  const files = await openProbedFiles(points, scenarioFile, baseDir);
  const listed = await files.list();
  const [version, v8] = computedBy();
  const manifest: Manifest = {
    schema: 'epsim/sweep-manifest@1',
    version,
    v8,
    name: sweep.name ?? (scenario as { name?: string }).name ?? 'sweep',
    inputs: hashOf([version, v8, JSON.stringify(inline), ...listed.map(({ sha256 }) => sha256)]),
    file: scenarioFile,
    baseDir,
    files: listed,
    points: points.count,
    pointsPerShard: pointsPerShard ?? defaultPointsPerShard(points.count),
    sweep: inline,
  };
  return { manifest, points, files };
}

/**
 * Sets a sweep up in a folder of its own, or goes on with the one that is there.
 * @param parent folder that the sweep's own folder is made in
 * @param newShards whether to divide it anew where it is there already
 * @throws FileError or ScenarioError
 */
export async function startSweep(
  opened: OpenedSweep,
  parent: string,
  newShards: boolean,
): Promise<StartedSweep> {
  const { name, inputs } = opened.manifest;
  const folder = new SweepFolder(resolve(parent, `${slugOf(name)}-${inputs.slice(0, 10)}`));
  await folder.create();
  if (!newShards) {
    const there = await readManifest(folder).catch(() => null);
    if (there?.inputs === inputs) return { ...opened, manifest: there, folder };
  }
  await writeWhole(folder.manifest, `${JSON.stringify(opened.manifest, null, 2)}\n`);
  return { ...opened, folder };
}

/**
 * Opens the folder of a sweep that was set up, here or on another machine.
 * @throws ScenarioError or FileError where it is none, or where versions or files differ from those of its start
 */
export async function openSweepFolder(path: string): Promise<StartedSweep> {
  const folder = new SweepFolder(resolve(path));
  const manifest = await readManifest(folder);
  const [version, v8] = computedBy();
  if (manifest.version !== version || manifest.v8 !== v8) {
    throw new ScenarioError(
      folder.manifest,
      'version',
      `a sweep of epsim ${manifest.version} on V8 ${manifest.v8}`,
      `one of this epsim, ${version} on V8 ${v8}: others may compute other digits`,
    );
  }
  const points = new SweepPoints(manifest.sweep, manifest.sweep.scenario, manifest.file);
  const files = await openProbedFiles(points, manifest.file, manifest.baseDir);
  for (const { path, sha256 } of await files.list()) {
    if (manifest.files.some((file) => file.path === path && file.sha256 === sha256)) continue;
    throw new FileError(`${path}: found other contents than when the sweep was set up, allowed: the same`);
  }
  return { manifest, points, files, folder };
}

async function readManifest(folder: SweepFolder): Promise<Manifest> {
  return parseManifest(await readJson(folder.manifest), folder.manifest);
}

/**
 * What is known of a sweep without its files: for those who read its result, of this version or another.
 * @throws ScenarioError or FileError
 */
export async function describeSweep(
  path: string,
): Promise<{ manifest: Manifest; points: SweepPoints; folder: SweepFolder }> {
  const folder = new SweepFolder(resolve(path));
  const manifest = await readManifest(folder);
  const points = new SweepPoints(manifest.sweep, manifest.sweep.scenario, manifest.file);
  if (folder.hasTable()) return { manifest, points, folder };
  throw new FileError(
    `${folder.table.parquet}: found no such file, allowed: the table of a finished sweep (epsim sweep status says how far it is)`,
  );
}

/** Opens every file that a value of the axes names, so that none is found missing in the middle of a sweep. */
async function openProbedFiles(points: SweepPoints, file: string, baseDir: string): Promise<FileCache> {
  const files = new FileCache();
  for (const scenario of points.probes(file)) {
    await openFiles(scenario, file, baseDir, files).catch((error: unknown) => {
      // A model that can't be is its points' failure.
      if (!(error instanceof ScenarioError)) throw error;
    });
  }
  return files;
}

function withoutSchema(value: unknown, file: string): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ScenarioError(file, '', JSON.stringify(value).slice(0, 80), 'an object');
  }
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== '$schema'));
}

function slugOf(name: string): string {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)
    .replace(/^-|-$/g, '');
  return slug || 'sweep';
}

/** Name of a shard: its number, and the hash of all that its points depend on. */
export function shardName({ inputs }: Manifest, { index, from, to }: Shard): string {
  return `${String(index).padStart(6, '0')}-${hashOf([inputs, `${from}-${to}`]).slice(0, 16)}`;
}

/** Name of a point: the hash of its scenario, of the files that the sweep names, and of what computes it. */
export function pointHash({ files }: Manifest, scenario: unknown): string {
  return hashOf([...computedBy(), JSON.stringify(scenario), ...files.map(({ sha256 }) => sha256)]).slice(
    0,
    32,
  );
}

/** Numbers of the shards that are not whole. */
export function* missingShards({
  manifest,
  folder,
}: Pick<StartedSweep, 'manifest' | 'folder'>): Generator<number> {
  for (let index = 0; index < shardCount(manifest); index++) {
    if (!folder.hasShard(shardName(manifest, shardAt(manifest, index)))) yield index;
  }
}
