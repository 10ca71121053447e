import type {
  LinkUse,
  PolicyRecording,
  RecordedLayer,
  RecordedSlice,
  Recording,
} from '../../simulation/index.js';

/** An event of Chrome's trace format, which Perfetto reads. */
export interface TraceEvent {
  ph: 'X' | 'M' | 'C' | 's' | 'f';
  name: string;
  pid: number;
  tid?: number;
  cat?: string;
  /** Microseconds, a multiple of 2⁻¹⁰. */
  ts?: number;
  dur?: number;
  id?: number;
  bp?: 'e';
  args?: Record<string, number | string>;
}

export interface ChromeTrace {
  displayTimeUnit: 'ms';
  otherData: Record<string, string>;
  traceEvents: TraceEvent[];
}

/** Streams in the order in which a timeline shows them; others come after them. */
const STREAM_ORDER = [
  'layers',
  'host',
  'compute',
  'network',
  'weights',
  'weights sent',
  'movement',
  'host copies',
];

const MIB = 2 ** 20;

/**
 * Parts of a microsecond of which every number holds a whole number: about nanoseconds, and sums of them are exact, so
 * that a slice ends (ts + dur) at the very number at which the next one starts. A viewer takes the least overlap for a
 * slice within another.
 */
const TICKS = 1024;
const ticks = (seconds: number) => Math.round(seconds * 1e6 * TICKS);

/**
 * A recording as a timeline for Perfetto (ui.perfetto.dev) and chrome://tracing: a process for every GPU of every
 * policy, all policies starting at 0; a track for each of its streams; counters of memory and link use; an arrow for
 * every expert's weights.
 * @param labels names of the policies, by their index in the result
 * @param about what stands in the file beside the events, as scenario and version
 */
export function chromeTrace(
  recording: Recording,
  labels: readonly string[],
  about: Readonly<Record<string, string>>,
): ChromeTrace {
  const shown = recording.policies.filter(({ steps }) => steps.length > 0);
  const inUse = categoriesInUse(recording.memoryCategories.length, shown);
  const traceEvents = shown.flatMap((policy, place) =>
    new PolicyTimeline(recording, policy, labels[policy.policy], place, inUse).events(),
  );
  const steps = [...new Set(shown.flatMap((policy) => policy.steps.map(({ step }) => step)))];
  return {
    displayTimeUnit: 'ms',
    otherData: {
      ...about,
      steps: steps.join(', '),
      'left out': recording.leftOut ?? 'nothing of the chosen steps and policies',
      'link counters': 'bytes of each transfer over its own time, summed over transfers that run together',
    },
    traceEvents,
  };
}

/** Which of so many categories any policy ever uses. */
function categoriesInUse(categories: number, policies: readonly PolicyRecording[]): number[] {
  const used = new Set<number>();
  for (const { steps } of policies) {
    for (const { memory } of steps.flatMap(({ layers }) => layers)) {
      for (const { bytes } of memory) bytes.forEach((amount, i) => amount > 0 && used.add(i));
    }
  }
  return Array.from({ length: categories }, (_, i) => i).filter((i) => used.has(i));
}

/** The events of one policy. */
class PolicyTimeline {
  private readonly out: TraceEvent[] = [];
  private readonly tracks = new Map<string, number>();
  private readonly digits: number;
  private arrow: number;

  constructor(
    private readonly recording: Recording,
    private readonly policy: PolicyRecording,
    private readonly label: string,
    private readonly place: number,
    /** Indices of the memory categories to draw. */
    private readonly inUse: readonly number[],
  ) {
    this.digits = String(recording.gpus - 1).length;
    // Arrows of all policies are numbered apart.
    this.arrow = place * 2 ** 24 + 1;
  }

  events(): TraceEvent[] {
    const { gpus } = this.recording;
    this.nameTracks();
    for (let gpu = 0; gpu < gpus; gpu++) this.nameProcess(gpu);
    let from = 0;
    for (const { step, layers, head = [] } of this.policy.steps) {
      for (const layer of layers) {
        this.addLayer(layer, step, from);
        this.addMemory(layer, from);
        this.addMoves(layer, from);
      }
      this.addLinks(
        layers.flatMap(({ links }) => links),
        from,
      );
      from = this.addHead(head, step, from, layers.at(-1)!.end);
    }
    return this.out;
  }

  private nameTracks(): void {
    const streams = new Set(['layers']);
    for (const { layers } of this.policy.steps) {
      for (const { slices, moves } of layers) {
        for (const { stream } of slices) streams.add(stream);
        if (moves.length > 0) streams.add('weights sent');
      }
    }
    const rank = (stream: string) => {
      const at = STREAM_ORDER.indexOf(stream);
      return at < 0 ? STREAM_ORDER.length : at;
    };
    const sorted = [...streams].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
    sorted.forEach((stream, at) => this.tracks.set(stream, at + 1));
  }

  private nameProcess(gpu: number): void {
    const pid = this.pid(gpu);
    const number = String(gpu).padStart(this.digits, '0');
    const meta = (name: string, args: TraceEvent['args'], tid?: number) =>
      this.out.push({ ph: 'M', name, pid, ...(tid === undefined ? {} : { tid }), args });
    // Viewers that know no order sort by name.
    meta('process_name', { name: `${this.place + 1} ${this.label} · GPU ${number}` });
    meta('process_sort_index', { sort_index: pid });
    for (const [stream, tid] of this.tracks) {
      if (stream === 'layers' && gpu > 0) continue;
      meta('thread_name', { name: `${tid} ${stream}` }, tid);
      meta('thread_sort_index', { sort_index: tid }, tid);
    }
  }

  private addLayer({ layer, start, end, slices }: RecordedLayer, step: number, from: number): void {
    this.addSlice(0, 'layers', `step ${step}, layer ${layer}`, 'layer', from + start, from + end, {});
    for (const { gpu, stream, phase, start, end, facts } of slices) {
      const name = phase === 'wait' ? `wait for ${facts.for}` : phase;
      this.addSlice(gpu, stream, name, phase, from + start, from + end, facts);
    }
  }

  /** @returns the end of the step, which starts at `from` and whose layers end after `layersEnd` */
  private addHead(head: readonly RecordedSlice[], step: number, from: number, layersEnd: number): number {
    const end = head.reduce((last, slice) => Math.max(last, slice.end), layersEnd);
    this.addSlice(0, 'layers', `step ${step}, head`, 'layer', from + layersEnd, from + end, {});
    for (const { gpu, stream, phase, start, end, facts } of head) {
      this.addSlice(gpu, stream, phase, phase, from + start, from + end, facts);
    }
    return from + end;
  }

  private addSlice(
    gpu: number,
    stream: string,
    name: string,
    cat: string,
    start: number,
    end: number,
    args: Readonly<Record<string, number | string>>,
  ): void {
    const [first, last] = [ticks(start), ticks(end)];
    if (last === first) return;
    const tid = this.tracks.get(stream)!;
    const at = { ts: first / TICKS, dur: (last - first) / TICKS };
    this.out.push({ ph: 'X', name, cat, pid: this.pid(gpu), tid, ...at, args: { ...args } });
  }

  private addMemory({ memory }: RecordedLayer, from: number): void {
    const { memoryCategories } = this.recording;
    for (const { gpu, time, bytes } of memory) {
      const args = Object.fromEntries(this.inUse.map((i) => [memoryCategories[i], bytes[i] / MIB]));
      this.addCounter(gpu, 'memory (MiB)', from + time, args);
    }
  }

  private addCounter(gpu: number, name: string, time: number, args: TraceEvent['args']): void {
    this.out.push({ ph: 'C', name, pid: this.pid(gpu), ts: ticks(time) / TICKS, args });
  }

  /** Bytes per second of every link, as a sum of what every transfer takes on average. */
  private addLinks(links: readonly LinkUse[], from: number): void {
    const byLink = new Map<string, LinkUse[]>();
    for (const use of links) {
      const key = `${use.gpu} ${use.link}`;
      const known = byLink.get(key);
      if (known) known.push(use);
      else byLink.set(key, [use]);
    }
    for (const uses of byLink.values()) {
      const [{ gpu, link }] = uses;
      const times = [...new Set(uses.flatMap(({ start, end }) => [start, end]))].sort((a, b) => a - b);
      for (const time of times) {
        let rate = 0;
        for (const { start, end, bytes } of uses) {
          if (start <= time && time < end) rate += bytes / (end - start);
        }
        this.addCounter(gpu, `${link} (GB/s)`, from + time, { rate: rate / 1e9 });
      }
    }
  }

  /** A bar at each source while it sends, and an arrow from it to the transfer of each destination. */
  private addMoves({ moves }: RecordedLayer, from: number): void {
    const bySource = new Map<number, { start: number; end: number; experts: number[] }[]>();
    for (const { source, expert, start, end } of [...moves].sort((a, b) => a.start - b.start)) {
      const spans = bySource.get(source) ?? [];
      bySource.set(source, spans);
      const last = spans.at(-1);
      if (last && start <= last.end) {
        last.end = Math.max(last.end, end);
        last.experts.push(expert);
      } else spans.push({ start, end, experts: [expert] });
    }
    for (const [source, spans] of bySource) {
      for (const { start, end, experts } of spans) {
        const args = { experts: experts.join(', '), count: experts.length };
        this.addSlice(source, 'weights sent', 'weights sent', 'weights', from + start, from + end, args);
      }
    }
    for (const { expert, source, destination, start, end } of moves) {
      const [first, last] = [ticks(from + start), ticks(from + end)];
      if (last === first) continue;
      const arrow = { name: `expert ${expert}`, cat: 'weights', id: this.arrow++, args: { expert } };
      const tids = [this.tracks.get('weights sent')!, this.tracks.get('weights')!];
      this.out.push({ ph: 's', ...arrow, pid: this.pid(source), tid: tids[0], ts: first / TICKS });
      const middle = Math.floor((first + last) / 2);
      this.out.push({
        ph: 'f',
        bp: 'e',
        ...arrow,
        pid: this.pid(destination),
        tid: tids[1],
        ts: middle / TICKS,
      });
    }
  }

  private pid(gpu: number): number {
    return this.place * this.recording.gpus + gpu + 1;
  }
}
