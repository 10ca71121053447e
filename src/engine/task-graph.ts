/**
 * How long a buffer lasts: within one run of the graph; `kept`: allocated in it and still in use when it ends;
 * `given`: in use when it starts and freed in it.
 */
export type Lifetime = 'within' | 'kept' | 'given';

/** What a task does, wherever it runs. */
export interface TaskWork {
  /** Tasks that must end first. */
  after?: readonly number[];
  /** The fabric's transfer that this task carries out; without one, the task takes a given time. */
  transfer?: number;
  /** Buffers allocated when the task starts. */
  allocates?: readonly number[];
  /** Buffers that the task is a reader of; a buffer is freed when its last reader ends. */
  reads?: readonly number[];
}

/** A task to add to a graph. */
export interface TaskSpec extends TaskWork {
  /** Streams the task occupies, all at once; on each it runs after the task added to it before. */
  streams: readonly number[];
  /** Caller's label, e.g. the phase of a layer; kept in `TaskGraph.labels`. */
  label?: number;
}

/**
 * A compiled graph: parallel flat arrays, lists as (first, …) ranges: the list of task t lies between
 * `xxxFirst[t]` and `xxxFirst[t + 1]`. Durations, transfer contents and buffer sizes are not part of it, so
 * that one graph serves every layer of a run.
 */
export interface TaskGraph {
  tasks: number;
  streams: number;
  /** Whom each stream belongs to (its GPU), and what it is called; −1 and empty where nobody said. */
  streamOwners: readonly number[];
  streamNames: readonly string[];
  buffers: number;
  /** Number of tasks that must end before the task may start; a stream's order counts as one of them. */
  blockers: Int32Array;
  successorFirst: Int32Array;
  successors: Int32Array;
  /** The other end of `successors`: which tasks a task waits for. */
  predecessorFirst: Int32Array;
  predecessors: Int32Array;
  streamFirst: Int32Array;
  streamsOf: Int32Array;
  allocationFirst: Int32Array;
  allocations: Int32Array;
  /** Buffers whose only reader the task is: freed when it ends. */
  freeFirst: Int32Array;
  frees: Int32Array;
  /** Buffers that the task reads as one of several: freed when the last of them ends. */
  readFirst: Int32Array;
  reads: Int32Array;
  /** The fabric's transfer of each task, or −1 for a task of given duration. */
  transferOf: Int32Array;
  labels: Int32Array;
  /** Owner of the stream that each task runs on; −1 for a task on several streams or on one without an owner. */
  owners: Int32Array;
  /** Ledger account of each buffer. */
  accounts: Int32Array;
  /** Number of tasks that read each buffer; 0 for one that outlasts the graph. */
  readers: Int32Array;
}

/**
 * Collects tasks in launch order. A stream runs its tasks one at a time in that order, which is the same as
 * one more dependency on the task launched before; a task on several streams (a collective) waits for all
 * of them and holds all of them: a barrier is one task.
 */
export class TaskGraphBuilder {
  private readonly predecessors = new Lists();
  private readonly streamsOf = new Lists();
  private readonly allocations = new Lists();
  private readonly reads = new Lists();
  private readonly transferOf: number[] = [];
  private readonly labels: number[] = [];
  private readonly owners: number[] = [];
  private readonly lastOnStream: number[] = [];
  private readonly streamOwners: number[] = [];
  private readonly streamNames: string[] = [];
  private readonly accounts: number[] = [];
  private readonly lifetimes: Lifetime[] = [];

  /**
   * @param owner caller's number of whom the stream belongs to, as its GPU
   * @param name as `compute`; an owner has one stream of a name
   */
  addStream(owner = -1, name = ''): number {
    this.streamOwners.push(owner);
    this.streamNames.push(name);
    return this.lastOnStream.push(-1) - 1;
  }

  /** @param account ledger account that the buffer counts in */
  addBuffer(account: number, lifetime: Lifetime = 'within'): number {
    this.lifetimes.push(lifetime);
    return this.accounts.push(account) - 1;
  }

  addTask(spec: TaskSpec): number {
    return this.addTaskOn(spec.streams, spec.label ?? 0, spec);
  }

  /** As `addTask`, with the streams and the label apart, so that many tasks can share the rest. */
  addTaskOn(streams: readonly number[], label: number, work: TaskWork): number {
    const { after = NONE, transfer = -1, allocates = NONE, reads = NONE } = work;
    const task = this.transferOf.push(transfer) - 1;
    const before = after.slice();
    for (const stream of streams) {
      if (this.lastOnStream[stream] >= 0) before.push(this.lastOnStream[stream]);
      this.lastOnStream[stream] = task;
    }
    for (const other of before) {
      if (!(other >= 0 && other < task)) throw new Error(`task ${task} cannot wait for task ${other}`);
    }
    this.predecessors.add(ascending(before));
    this.streamsOf.add(streams);
    this.allocations.add(allocates);
    this.reads.add(reads);
    this.labels.push(label);
    this.owners.push(streams.length === 1 ? this.streamOwners[streams[0]] : -1);
    return task;
  }

  /** @throws Error when a buffer is not allocated once, or never read, though its lifetime asks for it */
  compile(): TaskGraph {
    const tasks = this.transferOf.length;
    const allocated = this.allocations.occurrences(this.accounts.length);
    const readers = this.reads.occurrences(this.accounts.length);
    this.lifetimes.forEach((lifetime, buffer) => {
      if (allocated[buffer] !== (lifetime === 'given' ? 0 : 1))
        throw new Error(`buffer ${buffer} (${lifetime}) is allocated ${allocated[buffer]} times`);
      if (lifetime === 'kept' && readers[buffer] > 0)
        throw new Error(`buffer ${buffer} is kept, so no task may be its last reader`);
      if (lifetime !== 'kept' && readers[buffer] === 0)
        throw new Error(`buffer ${buffer} is never read, so never freed`);
    });
    const [predecessorFirst, predecessors] = this.predecessors.flat();
    const [successorFirst, successors] = successorsOf(predecessorFirst, predecessors);
    const [streamFirst, streamsOf] = this.streamsOf.flat();
    const [allocationFirst, allocations] = this.allocations.flat();
    const [freeFirst, frees] = this.reads.flat((buffer) => readers[buffer] === 1);
    const [readFirst, reads] = this.reads.flat((buffer) => readers[buffer] > 1);
    return {
      tasks,
      streams: this.lastOnStream.length,
      streamOwners: this.streamOwners,
      streamNames: this.streamNames,
      buffers: this.accounts.length,
      blockers: Int32Array.from({ length: tasks }, (_, t) => predecessorFirst[t + 1] - predecessorFirst[t]),
      successorFirst,
      successors,
      predecessorFirst,
      predecessors,
      streamFirst,
      streamsOf,
      allocationFirst,
      allocations,
      freeFirst,
      frees,
      readFirst,
      reads,
      transferOf: Int32Array.from(this.transferOf),
      labels: Int32Array.from(this.labels),
      owners: Int32Array.from(this.owners),
      accounts: Int32Array.from(this.accounts),
      readers,
    };
  }
}

const NONE: readonly number[] = [];

/** A list per task, one after the other. */
class Lists {
  private readonly first = [0];
  private readonly all: number[] = [];

  add(list: readonly number[]): void {
    for (let i = 0; i < list.length; i++) this.all.push(list[i]);
    this.first.push(this.all.length);
  }

  /** How often each number is in them. */
  occurrences(numbers: number): Int32Array {
    const counts = new Int32Array(numbers);
    for (const number of this.all) counts[number]++;
    return counts;
  }

  /**
   * @param keeps which of the numbers; default: all
   * @returns where each list begins, and the end; the lists
   */
  flat(keeps?: (number: number) => boolean): [first: Int32Array, all: Int32Array] {
    if (keeps === undefined) return [Int32Array.from(this.first), Int32Array.from(this.all)];
    const kept = new Lists();
    for (let list = 0; list + 1 < this.first.length; list++) {
      for (let i = this.first[list]; i < this.first[list + 1]; i++)
        if (keeps(this.all[i])) kept.all.push(this.all[i]);
      kept.first.push(kept.all.length);
    }
    return kept.flat();
  }
}

/** Which tasks wait for each, from which tasks each waits for. */
function successorsOf(first: Int32Array, predecessors: Int32Array): [Int32Array, Int32Array] {
  const tasks = first.length - 1;
  const successorFirst = new Int32Array(tasks + 1);
  for (let i = 0; i < predecessors.length; i++) successorFirst[predecessors[i] + 1]++;
  for (let task = 0; task < tasks; task++) successorFirst[task + 1] += successorFirst[task];
  const next = successorFirst.slice();
  const successors = new Int32Array(predecessors.length);
  for (let task = 0; task < tasks; task++) {
    for (let i = first[task]; i < first[task + 1]; i++) successors[next[predecessors[i]]++] = task;
  }
  return [successorFirst, successors];
}

/** Sorted, each once; may be the list itself. */
function ascending(list: number[]): number[] {
  const isAscending = list.every((other, i) => i === 0 || other > list[i - 1]);
  return isAscending ? list : [...new Set(list)].sort((a, b) => a - b);
}
