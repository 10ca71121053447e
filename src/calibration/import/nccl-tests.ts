import { MeasurementError } from '../measurement-error.js';
import type { CollectiveRow, Measurements } from '../measurements.js';
import { severalRows } from './aiconfigurator.js';
import { averageRepeats } from './average-repeats.js';
import { said, type ImportOptions } from './import-options.js';
import { logLines } from './log-lines.js';

const COLLECTIVES: Readonly<Record<string, CollectiveRow['collective']>> = {
  alltoall: 'all-to-all',
  all_gather: 'all-gather',
  reduce_scatter: 'reduce-scatter',
  all_reduce: 'all-reduce',
};

const PROGRAM = /\b([a-z_]+)_perf(?:_mpi)?\b/;
const RANK =
  /^#\s+Rank\s+(\d+)\s+(?:Group\s+(\d+)\s+)?Pid\s+\d+\s+on\s+(\S+)\s+device\s+\d+\s+\[[^\]]*\]\s+(.+?)\s*$/;
const NUMBERS = /^\s*\d+\s+\d+\s+[a-z]\w*\s/;

/** How far a line's bandwidth may be from its bytes over its time, which are printed to three digits. */
const TOLERANCE = 0.05;

/** A run of a test program, as far as it has been read. */
interface Run {
  ranks: { rank: string; group: string; host: string; device: string }[];
  iterations: number | null;
  columns: string[] | null;
}

/**
 * Reads what a program of nccl-tests (or rccl-tests) prints, one run or several; of each size the time out of
 * place, which is how an exchange of tokens runs.
 * @throws MeasurementError
 */
export function importNcclTests(text: string, options: ImportOptions): Measurements {
  const { file } = options;
  const refuse = (line: number, found: string, allowed: string): never => {
    throw new MeasurementError(file, `line ${line}`, found, allowed);
  };
  let run: Run = { ranks: [], iterations: null, columns: null };
  let program: string | undefined;
  let empty = 0;
  const devices = new Set<string>();
  const versions = { tests: 'unknown', library: 'NCCL', number: 'unknown' };
  const rows: CollectiveRow[] = [];

  for (const { number, line } of logLines(text)) {
    program = PROGRAM.exec(line)?.[1] ?? program;
    const [, family, testVersion] = /^# (nccl|rccl)-tests version (\S+)/.exec(line) ?? [];
    if (testVersion !== undefined) {
      versions.tests = testVersion;
      versions.library = family.toUpperCase();
    }
    const [, , libraryVersion] = /^(NCCL|RCCL) version\s*:?\s*(\S+)/.exec(line) ?? [];
    if (libraryVersion !== undefined) versions.number = libraryVersion;
    const [, code] = /-library=(\d{5,})/.exec(line) ?? [];
    if (code !== undefined) versions.number = versionOf(Number(code));

    if (line.startsWith('# nThread')) {
      const iterations = /\biters: (\d+) agg iters: (\d+)/.exec(line);
      run = {
        ranks: [],
        iterations: iterations === null ? null : Number(iterations[1]) * Number(iterations[2]),
        columns: null,
      };
      continue;
    }
    const rank = RANK.exec(line);
    if (rank !== null) {
      const [, index, group = '0', host, device] = rank;
      if (run.ranks.some((one) => one.rank === index)) {
        refuse(number, `rank ${index} twice`, 'one run over all GPUs: nccl-tests built with MPI=1');
      }
      run.ranks.push({ rank: index, group, host, device });
      devices.add(device);
      if (devices.size > 1) {
        refuse(number, `'${device}' after '${[...devices][0]}'`, 'one device in a file');
      }
      continue;
    }
    if (/^#\s+size\s+count\s/.test(line)) {
      run.columns = line.replace(/^#/, '').trim().split(/\s+/);
      if (!run.columns.includes('time')) {
        refuse(
          number,
          'no column time (-C times the host)',
          'the columns size count type … time algbw busbw',
        );
      }
      continue;
    }
    if (/^#\s+\(B\)/.test(line) && !line.includes('(us)')) refuse(number, line.trim(), 'times in (us)');
    if (run.columns === null || !NUMBERS.test(line)) continue;

    if (program !== undefined && !Object.hasOwn(COLLECTIVES, program)) {
      refuse(number, `a row of ${program}_perf`, `${Object.keys(COLLECTIVES).join('_perf, ')}_perf`);
    }
    if (run.ranks.length === 0) refuse(number, 'a row before any line # Rank …', 'the output from its start');
    const { bytes, microseconds } = readRow(line, run.columns, (found, allowed) =>
      refuse(number, found, allowed),
    );
    if (bytes === 0) {
      empty++;
      continue;
    }
    rows.push({
      op: 'collective',
      kernel: `${versions.library} ${versions.number} ${line.trim().split(/\s+/)[2]}`,
      collective: said(options, 'collective', program === undefined ? undefined : COLLECTIVES[program]),
      ...placeOf(run, options, number),
      bytes,
      seconds: microseconds / 1e6,
      spread: null,
      repeats: run.iterations,
    });
  }
  if (empty > 0) options.onNote?.(`${empty} rows of 0 bytes left out`);
  severalRows(rows, file);
  return {
    schema: 'epsim/measurements@1',
    source: { name: `${versions.library.toLowerCase()}-tests`, version: versions.tests, licence: 'own' },
    device: { name: said(options, 'device', [...devices][0]), kind: 'gpu' },
    software: { [versions.library]: versions.number },
    rows: averageRepeats(rows),
  };
}

function readRow(
  line: string,
  columns: readonly string[],
  refuse: (found: string, allowed: string) => never,
): { bytes: number; microseconds: number } {
  const cells = line.trim().split(/\s+/);
  // Older programs leave redop or root blank where a collective has none: then only the distance to the end holds.
  const blank = Math.max(0, columns.length - cells.length);
  if (blank > 2) refuse(`${cells.length} columns`, `${columns.length}: a line that was not cut short`);
  const at = columns.indexOf('time') - blank;
  const [bytes, microseconds, bandwidth] = [cells[0], cells[at], cells[at + 1]].map(Number);
  const wrong = cells[at + 3];
  if (bytes === 0) return { bytes, microseconds: 0 };
  if (!(microseconds > 0 && Number.isFinite(microseconds))) {
    refuse(`time ${cells[at]}`, 'a time above 0 µs');
  }
  // An older program prints the largest error instead, which may be a rounding one.
  if (/^[1-9]\d*$/.test(wrong)) refuse(`${wrong} wrong values`, '0: a run whose results are right');
  const implied = bytes / microseconds / 1e3;
  if (bandwidth > 1 && Math.abs(implied / bandwidth - 1) > TOLERANCE) {
    refuse(
      `${bytes} bytes in ${microseconds} µs beside algbw ${bandwidth} GB/s`,
      `the size in bytes and the time in µs, which make ${implied.toPrecision(3)} GB/s`,
    );
  }
  return { bytes, microseconds };
}

/** GPUs of a run, and how many of them share a node. */
function placeOf(
  { ranks }: Run,
  options: ImportOptions,
  line: number,
): Pick<CollectiveRow, 'gpus' | 'gpusPerNode'> {
  const refuse = (found: string, allowed: string): never => {
    throw new MeasurementError(options.file, `line ${line}`, found, allowed);
  };
  const groups = new Set(ranks.map(({ group }) => group));
  if (groups.size > 1) refuse(`${groups.size} groups that run at once`, 'a run of one group');
  const perHost = new Map<string, number>();
  for (const { host } of ranks) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const counts = [...new Set(perHost.values())];
  if (counts.length > 1) refuse(`nodes of ${counts.join(' and ')} GPUs`, 'nodes of as many GPUs');
  return { gpus: ranks.length, gpusPerNode: said(options, 'gpusPerNode', counts[0]) };
}

/** 23003 is 2.30.3; before 2.9, 2804 was 2.8.4. */
function versionOf(code: number): string {
  const [major, minor] = code >= 10_000 ? [10_000, 100] : [1000, 100];
  return `${Math.floor(code / major)}.${Math.floor((code % major) / minor)}.${code % 100}`;
}
