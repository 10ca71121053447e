import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { chromeTrace } from '../../src/report/index.js';
import { epsim, root, small, workFolder, writeJson } from '../cli/epsim.js';
import { allSteps, byHand, handFile, record, type Recorded } from './record.js';

type ChromeTrace = ReturnType<typeof chromeTrace>;

const trace = ({ recording, labels }: Recorded) => chromeTrace(recording, labels, {});
const phase = ({ traceEvents }: ChromeTrace, ph: string) => traceEvents.filter((event) => event.ph === ph);

/** What Perfetto asks of a trace in this format (shared/specs, peers.md §6). */
function expectPerfettoTakes(timeline: ChromeTrace): void {
  const named = new Set<string>();
  const sorted = new Set<string>();
  for (const { name, pid, tid, ts, args } of phase(timeline, 'M')) {
    expect(ts ?? 0).toBe(0);
    const track = `${pid} ${tid ?? 'process'}`;
    if (name.endsWith('_name')) named.add(track);
    if (name.endsWith('_sort_index')) {
      expect(Number.isInteger(args!.sort_index)).toBe(true);
      sorted.add(track);
    }
  }
  const lastEnd = new Map<string, number>();
  for (const { pid, tid, ts, dur, name } of phase(timeline, 'X').sort((a, b) => a.ts! - b.ts!)) {
    const track = `${pid} ${tid}`;
    expect(named.has(track) && sorted.has(track) && named.has(`${pid} process`), name).toBe(true);
    expect(ts).toBeGreaterThanOrEqual(0);
    expect(dur).toBeGreaterThan(0);
    // Compared in whole nanoseconds, as a viewer reads them.
    // As viewers add: a slice that ends one rounding after the next one's start counts as one around it.
    expect(ts, `${name} on ${track}`).toBeGreaterThanOrEqual(lastEnd.get(track) ?? 0);
    lastEnd.set(track, ts! + dur!);
  }
  for (const { ts, args, pid } of phase(timeline, 'C')) {
    expect(ts).toBeGreaterThanOrEqual(0);
    expect(named.has(`${pid} process`)).toBe(true);
    for (const value of Object.values(args!)) expect(value).toBeGreaterThanOrEqual(0);
  }
  const slices = phase(timeline, 'X');
  const starts = phase(timeline, 's');
  const ends = phase(timeline, 'f');
  expect(new Set(starts.map(({ id }) => id)).size).toBe(starts.length);
  expect(ends.map(({ id }) => id)).toEqual(starts.map(({ id }) => id));
  for (const arrow of [...starts, ...ends]) {
    const inside = slices.filter(
      ({ pid, tid, ts, dur }) =>
        pid === arrow.pid && tid === arrow.tid && ts! <= arrow.ts! && arrow.ts! < ts! + dur!,
    );
    expect(inside, `${arrow.ph} of ${arrow.name}`).toHaveLength(1);
  }
}

describe('a timeline', () => {
  it('of the case worked out by hand shows its microseconds, bytes and arrow', async () => {
    const timeline = trace(await record(byHand(), { file: handFile }));
    expectPerfettoTakes(timeline);
    const processes = phase(timeline, 'M').filter(({ name }) => name === 'process_name');
    expect(processes.slice(0, 3).map(({ args }) => args!.name)).toEqual([
      '1 ep · GPU 0',
      '1 ep · GPU 1',
      '2 llep(minTokensPerGemm=1, imbalanceThreshold=0) · GPU 0',
    ]);
    const experts = phase(timeline, 'X').filter(({ pid, name }) => pid === 1 && name === 'experts');
    expect(experts).toMatchObject([{ ts: 6000, dur: 243000, args: { copies: 12, 'product, s': 0.12 } }]);
    const wait = phase(timeline, 'X').filter(({ pid, cat }) => pid === 2 && cat === 'wait');
    expect(wait).toMatchObject([{ name: 'wait for combine', ts: 205000, dur: 44000 }]);
    // 800 bytes leave GPU 0 in 6 ms.
    const out = phase(timeline, 'C').filter(({ pid, name }) => pid === 1 && name === 'NVLink out (GB/s)');
    expect(out[0].args!.rate).toBeCloseTo(800 / 0.006 / 1e9, 15);
    expect(out.at(-1)!.args!.rate).toBe(0);
    const memory = phase(timeline, 'C').filter(({ pid, name }) => pid === 1 && name === 'memory (MiB)');
    expect(memory[0].args!.weights).toBe(30_000 / 2 ** 20);
    expect(phase(timeline, 's')).toMatchObject([{ name: 'expert 0', pid: 3 }]);
    expect(phase(timeline, 'f')).toMatchObject([{ name: 'expert 0', pid: 4 }]);
  });

  it.each(['ideal', 'llep-reference', 'llep-engineered'])(
    'of runtime %s keeps the rules, over steps, layers, nodes and movements',
    async (runtime) => {
      const recorded = await record(
        {
          ...small,
          runtime,
          cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 2, fabric: 'max-min' },
          workload: { ...small.workload, layer: 'all', steps: 6 },
          policies: [
            'llep',
            { kind: 'eplb', movement: 'async', history: { kind: 'window', steps: 2, interval: 3 } },
            { kind: 'eplb', movement: 'blocking', history: { kind: 'window', steps: 2, interval: 1 } },
          ],
        },
        { choose: allSteps },
      );
      const timeline = trace(recorded);
      expectPerfettoTakes(timeline);
      expect(timeline.otherData.steps).toBe('0, 1, 2, 3, 4, 5');
      const layers = phase(timeline, 'X').filter(({ pid, cat }) => pid === 1 && cat === 'layer');
      expect(layers).toHaveLength(6 * 2);
      expect(phase(timeline, 'X').some(({ name }) => name === 'move')).toBe(true);
      expect(phase(timeline, 'C').some(({ name }) => name === 'NIC in (GB/s)')).toBe(true);
    },
  );
});

describe('a timeline of scope model', () => {
  const file = join(root, 'scenarios/model/kv-imbalance.json');
  const recordModel = () => record(JSON.parse(readFileSync(file, 'utf8')), { file });

  it('ends with the head, so that a step is as long as the table says', async () => {
    const recorded = await recordModel();
    const timeline = trace(recorded);
    expectPerfettoTakes(timeline);
    recorded.recording.policies.forEach(({ steps }, i) => {
      const { head } = steps.at(-1)!;
      expect(head!.length).toBe(recorded.recording.gpus);
      const end = Math.max(...head!.map((slice) => slice.end));
      if (recorded.recording.leftOut === null) expect(end).toBeCloseTo(recorded.latencies[i].at(-1)!, 12);
    });
    expect(recorded.recording.leftOut).toBe(null);
    expect(phase(timeline, 'X').some(({ name }) => /^step \d+, head$/.test(name))).toBe(true);
  });

  it('says of every bar what made it', async () => {
    const bars = phase(trace(await recordModel()), 'X').filter(({ cat }) => cat !== 'layer');
    expect(bars.filter(({ args }) => Object.keys(args!).length === 0)).toEqual([]);
    const attention = bars.filter(({ name }) => name === 'attention').map(({ args }) => args!);
    expect(new Set(attention.map((args) => args['cached tokens'])).size).toBeGreaterThan(1);
    expect(bars.find(({ name }) => name === 'head')!.args).toHaveProperty('rows of logits');
  });
});

it('bars of hosts and planners say where their time comes from', async () => {
  const bars = phase(trace(await record({ ...small, runtime: 'llep-reference' })), 'X');
  for (const name of ['host', 'plan']) {
    expect(bars.find((bar) => bar.name === name)!.args).toHaveProperty('made of');
  }
});

it('memory counters have the categories in use, and no others', async () => {
  const samples = phase(trace(await record(small)), 'C').filter(({ name }) => name === 'memory (MiB)');
  const categories = Object.keys(samples[0].args!);
  expect(categories).toContain('weights');
  expect(categories).not.toContain('optimizer');
  for (const category of categories) {
    expect(samples.some(({ args }) => Number(args![category]) > 0)).toBe(true);
  }
});

it('a cap counts all that is written', async () => {
  const [whole, cut] = await Promise.all(
    [Infinity, 100].map((mostEvents) =>
      record({ ...small, workload: { ...small.workload, layer: 'all' } }, { choose: allSteps, mostEvents }),
    ),
  );
  const count = (recorded: Recorded) => trace(recorded).traceEvents.filter(({ ph }) => ph !== 'M').length;
  expect(cut.recording.policies[0].steps[0].layers).toHaveLength(1);
  const said = Number(
    /before have (\d+) bars, samples and arrows, above 100/.exec(cut.recording.leftOut!)![1],
  );
  // The uses of a link that touch share a sample.
  expect(count(cut)).toBeLessThanOrEqual(said);
  expect(count(cut)).toBeGreaterThan(0.7 * said);
  expect(count(whole)).toBeGreaterThan(4 * count(cut));
});

describe('epsim run --timeline', () => {
  const folder = workFolder();
  const scenario = writeJson(folder, 'small.json', small);

  it('writes the chosen steps and policies, gzipped, and the same bytes again', () => {
    const files = ['a.json.gz', 'b.json.gz'].map((name) => `${folder}/${name}`);
    for (const file of files) {
      const args = ['--timeline', file, '--timeline-steps', '0,2', '--timeline-policies', 'llep'];
      const { status, stderr } = epsim(['run', scenario, ...args]);
      expect([status, stderr]).toEqual([0, '']);
    }
    expect(readFileSync(files[0])).toEqual(readFileSync(files[1]));
    const timeline = JSON.parse(gunzipSync(readFileSync(files[0])).toString()) as ChromeTrace;
    expectPerfettoTakes(timeline);
    expect(timeline.otherData).toMatchObject({ scenario: 'small', steps: '0, 2' });
    expect(new Set(timeline.traceEvents.map(({ pid }) => pid)).size).toBe(4);
  });

  const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as ChromeTrace;

  it('of a run with faults shows the last step before the first, and names what comes after', () => {
    const faulted = writeJson(folder, 'faulted.json', {
      ...small,
      cluster: { ...small.cluster, faults: [{ kind: 'gpu-lost', gpu: 1, atStep: 2 }] },
    });
    const file = `${folder}/faulted.timeline.json`;
    const { status, stderr } = epsim(['run', faulted, '--timeline', file]);
    const rest = 'steps 2 to 2, after the first of cluster.faults, which change the machine';
    expect([status, stderr]).toEqual([0, `${file}: left out ${rest}\n`]);
    const timeline = read(file);
    expectPerfettoTakes(timeline);
    expect(timeline.otherData).toMatchObject({ steps: '1', 'left out': rest });

    const late = epsim(['run', faulted, '--timeline', `${folder}/late.json`, '--timeline-steps', '2']);
    expect(late.status).toBe(2);
    expect(late.stderr).toContain(
      '--timeline-steps: found "2", allowed: numbers of steps and ranges, as 0,4-7, up to 1, ' +
        'the last one before cluster.faults change the machine',
    );
    expect(existsSync(`${folder}/late.json`)).toBe(false);
  });

  it('of a run with offloaded experts names the strategies, which it has no bars of', () => {
    const file = `${folder}/offload.timeline.json`;
    const scenario = join(root, 'scenarios/systems/hobbit-phi.json');
    const { status, stderr } = epsim(['run', scenario, '--timeline', file]);
    expect(status).toBe(0);
    expect(stderr).toMatch(/left out .*the strategies of offload \(.+\), which are no policies/);
    expect(read(file).otherData['left out']).toContain('the strategies of offload (');
  });

  it('names chosen steps that did not run', async () => {
    const timeline = trace(await record(small, { choose: () => [1, 99] }));
    expect(timeline.otherData).toMatchObject({ steps: '1', 'left out': 'steps 99, which did not run' });
  });

  it.each([
    [
      ['--timeline', 'x.json', '--timeline-steps', '1-7'],
      '--timeline-steps: found "1-7", allowed: numbers of steps',
    ],
    [
      ['--timeline', 'x.json', '--timeline-policies', 'eplb'],
      '--timeline-policies: found "eplb", allowed: ep, llep',
    ],
    [['--timeline', 'nowhere/x.json'], 'nowhere/x.json: found no folder nowhere'],
    [['--timeline-steps', '1'], '--timeline-steps: found no --timeline'],
    [[scenario, '--timeline', 'x.json'], '--timeline: found 2 scenarios, allowed: one'],
  ])('%j is refused', (args, message) => {
    const { status, stderr } = epsim(['run', scenario, ...args], { cwd: folder });
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });
});
