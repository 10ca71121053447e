import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  caseKey,
  measurementPlan,
  measurementsSchema,
  type Case,
  type Measurements,
  type Timed,
} from '../../src/calibration/index.js';
import { FileError } from '../../src/files/index.js';
import { BackendError, CaseRefused, measure, type Effort, type OpenDevice } from '../../src/measure/index.js';
import { workFolder } from '../cli/epsim.js';

const folder = workFolder();
const plan = measurementPlan('tiny');
const source = { name: 'a test', version: '1' };

type Time = (wanted: Case, effort: Effort) => Promise<Timed>;

const timed = (wanted: Case): Timed => ({
  case: wanted,
  kernel: 'none',
  seconds: 1e-6,
  spread: 0,
  repeats: 3,
});

function device(
  change: Partial<OpenDevice> = {},
  time: Time = (wanted) => Promise.resolve(timed(wanted)),
): OpenDevice {
  return {
    device: { name: 'a fake', kind: 'gpu' },
    software: { driver: '1' },
    refusal: () => null,
    time,
    close: () => Promise.resolve(),
    ...change,
  };
}

let files = 0;
const newFile = () => join(folder, `m${files++}.json`);
const read = (path: string) => measurementsSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
const keysOf = ({ rows }: Measurements) => rows.map((row) => caseKey((row as Timed).case));

describe('measuring a plan', () => {
  it('times every case in order, and says who measured what on what', async () => {
    const out = newFile();
    const seen: number[] = [];
    const onCase = (done: number, of: number) => seen.push(of - done);
    const outcome = await measure({ plan, device: device(), source, out, onCase });
    expect(outcome).toEqual({ timed: plan.cases.length, kept: 0, refused: [], failed: [], left: 0 });
    expect(seen).toEqual(plan.cases.map((_, i) => plan.cases.length - i));
    const { rows: _, ...head } = read(out);
    expect(head).toEqual({
      schema: 'epsim/measurements@1',
      source: { ...source, licence: 'own' },
      device: { name: 'a fake', kind: 'gpu' },
      software: { driver: '1' },
    });
    expect(keysOf(read(out))).toEqual(plan.cases.map(caseKey));
  });

  it('gives one case of every expert shape and format a long run: fused where that can be had', async () => {
    const long: Case[] = [];
    const time: Time = (wanted, { longRunSeconds, repeats, warmup }) => {
      expect([repeats, warmup]).toEqual([plan.repeats, plan.warmup]);
      if (longRunSeconds > 0) long.push(wanted);
      return Promise.resolve(timed(wanted));
    };
    await measure({ plan, device: device({}, time), source, out: newFile() });
    const shapes = (cases: Case[]) =>
      cases.map((one) => (one.op === 'expert-stage' ? [one.layout, one.weightDtype, one.routing] : []));
    expect(new Set(shapes(long))).toEqual(
      new Set([
        ['fused', 'bf16', 'balanced'],
        ['fused', 'fp8', 'balanced'],
        ['loop', 'fp32', 'power-law'],
      ]),
    );
    long.length = 0;
    const refusal = (one: Case) => ('layout' in one && one.layout === 'fused' ? 'no fused kernel' : null);
    await measure({ plan, device: device({ refusal }, time), source, out: newFile() });
    expect(shapes(long).map(([layout, dtype]) => [layout, dtype])).toEqual([
      ['loop', 'bf16'],
      ['loop', 'fp32'],
    ]);
  });

  it('goes on where it was stopped: earlier rows stay as they are, and only missing cases are timed', async () => {
    const out = newFile();
    const stop = new AbortController();
    const time: Time = (wanted) => {
      if (wanted.op === 'top-k') stop.abort();
      return wanted.op === 'top-k' ? new Promise(() => undefined) : Promise.resolve(timed(wanted));
    };
    const first = await measure({ plan, device: device({}, time), source, out, signal: stop.signal });
    const at = plan.cases.findIndex(({ op }) => op === 'top-k');
    expect(first).toMatchObject({ timed: at, left: plan.cases.length - at });
    expect(read(out).rows).toHaveLength(at);

    // What a later version may put into a row stays too.
    const text = readFileSync(out, 'utf8').replace('"kernel":"none"', '"kernel":"none","mood":"good"');
    writeFileSync(out, text);
    const lines = text.split('\n').filter((line) => line.startsWith('    {"case"'));
    const slower: Time = (wanted) => Promise.resolve({ ...timed(wanted), seconds: 2 });
    const second = await measure({ plan, device: device({}, slower), source, out });
    expect(second).toMatchObject({ timed: plan.cases.length - at, kept: at, left: 0 });
    expect(keysOf(read(out))).toEqual(plan.cases.map(caseKey));
    const after = readFileSync(out, 'utf8').split('\n');
    lines.forEach((line) => expect(after).toContain(line.replace(/,$/, '') + ','));
    expect(read(out).rows.filter(({ seconds }) => seconds === 2)).toHaveLength(plan.cases.length - at);

    const third = await measure({ plan, device: device({}, slower), source, out });
    expect(third).toMatchObject({ timed: 0, kept: plan.cases.length });
  });

  it('counts refusals, those known before and those found out', async () => {
    const refusal = ({ op }: Case) => (op === 'copy' ? 'no copies' : null);
    const time: Time = (wanted) =>
      wanted.op === 'launch' ? Promise.reject(new CaseRefused('no memory')) : Promise.resolve(timed(wanted));
    const {
      refused,
      failed,
      timed: rows,
    } = await measure({ plan, device: device({ refusal }, time), source, out: newFile() });
    expect(refused.map(({ case: { op }, why }) => [op, why])).toEqual([
      ['copy', 'no copies'],
      ['copy', 'no copies'],
      ['launch', 'no memory'],
    ]);
    expect([failed, rows]).toEqual([[], plan.cases.length - 3]);
  });

  it('goes on after a failure, and gives up when nothing works any more', async () => {
    let calls = 0;
    const time: Time = (wanted) =>
      ++calls === 2 || calls > 4
        ? Promise.reject(new BackendError(`fault ${calls}`))
        : Promise.resolve(timed(wanted));
    const out = newFile();
    const { timed: rows, failed, left } = await measure({ plan, device: device({}, time), source, out });
    expect(failed.map(({ why }) => why)).toEqual(['fault 2', 'fault 5', 'fault 6', 'fault 7']);
    expect([rows, left]).toEqual([3, plan.cases.length - 7]);
    expect(read(out).rows).toHaveLength(3);
  });

  it('does not hide a bug', async () => {
    const time: Time = () => Promise.reject(new TypeError('a bug'));
    await expect(measure({ plan, device: device({}, time), source, out: newFile() })).rejects.toThrow(
      TypeError,
    );
  });
});

describe('a file that is there', () => {
  async function refused(out: string, change: Partial<OpenDevice> = {}): Promise<string> {
    const before = readFileSync(out, 'utf8');
    const error = await measure({ plan, device: device(change), source, out }).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(FileError);
    expect(readFileSync(out, 'utf8')).toBe(before);
    return (error as Error).message;
  }

  it('is refused where it was measured elsewhere', async () => {
    const out = newFile();
    await measure({ plan, device: device(), source, out });
    expect(await refused(out, { device: { name: 'another', kind: 'gpu' } })).toMatch(
      /found measurements of another device, .*"a fake".*, allowed: those of this one, .*"another"/,
    );
    expect(await refused(out, { software: { driver: '2' } })).toContain(
      'found measurements of another software',
    );
  });

  it.each([
    ['{ "rows": ', 'allowed: JSON'],
    ['{}', 'schema: found no measurements'],
    ['[]', 'the file: found no measurements'],
    ['{"schema":"epsim/result@1"}', 'schema: found no measurements'],
  ])('is refused where it is none: %s', async (text, message) => {
    const out = newFile();
    writeFileSync(out, text);
    expect(await refused(out)).toContain(message);
  });

  it('is refused where it cannot be written', async () => {
    const out = join(folder, 'no/such/folder/m.json');
    await expect(measure({ plan, device: device(), source, out })).rejects.toThrow('no such file or folder');
  });
});
