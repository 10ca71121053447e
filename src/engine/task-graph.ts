/**
 * How long a buffer lasts: within one run of the graph; `kept`: allocated in it and still in use when it ends;
 * `given`: in use when it starts and freed in it.
 */
export type Lifetime = 'within' | 'kept' | 'given';

/** A task to add to a graph. */
export interface TaskSpec {
  /** Streams the task occupies, all at once; on each it runs after the task added to it before. */
  streams: readonly number[];
  /** Tasks that must end first. */
  after?: readonly number[];
  /** The fabric's transfer that this task carries out; without one, the task takes a given time. */
  transfer?: number;
  /** Buffers allocated when the task starts. */
  allocates?: readonly number[];
  /** Buffers that the task is a reader of; a buffer is freed when its last reader ends. */
  reads?: readonly number[];
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
  private readonly tasks: TaskSpec[] = [];
  private readonly predecessors: number[][] = [];
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
    const task = this.tasks.push(spec) - 1;
    const before = new Set(spec.after);
    for (const stream of spec.streams) {
      if (this.lastOnStream[stream] >= 0) before.add(this.lastOnStream[stream]);
      this.lastOnStream[stream] = task;
    }
    for (const other of before) {
      if (!(other >= 0 && other < task)) throw new Error(`task ${task} cannot wait for task ${other}`);
    }
    this.predecessors.push([...before].sort((a, b) => a - b));
    return task;
  }

  /** @throws Error when a buffer is not allocated once, or never read, though its lifetime asks for it */
  compile(): TaskGraph {
    const { tasks, predecessors } = this;
    const successors: number[][] = tasks.map(() => []);
    predecessors.forEach((before, task) => before.forEach((other) => successors[other].push(task)));
    const readers = new Int32Array(this.accounts.length);
    const allocated = new Int32Array(this.accounts.length);
    for (const { allocates = [], reads = [] } of tasks) {
      for (const buffer of allocates) allocated[buffer]++;
      for (const buffer of reads) readers[buffer]++;
    }
    this.lifetimes.forEach((lifetime, buffer) => {
      if (allocated[buffer] !== (lifetime === 'given' ? 0 : 1))
        throw new Error(`buffer ${buffer} (${lifetime}) is allocated ${allocated[buffer]} times`);
      if (lifetime === 'kept' && readers[buffer] > 0)
        throw new Error(`buffer ${buffer} is kept, so no task may be its last reader`);
      if (lifetime !== 'kept' && readers[buffer] === 0)
        throw new Error(`buffer ${buffer} is never read, so never freed`);
    });
    const [successorFirst, successorList] = ranges(successors);
    const [predecessorFirst, predecessorList] = ranges(predecessors);
    const [streamFirst, streamsOf] = ranges(tasks.map((task) => task.streams));
    const [allocationFirst, allocations] = ranges(tasks.map((task) => task.allocates ?? []));
    const [freeFirst, frees] = ranges(
      tasks.map(({ reads = [] }) => reads.filter((buffer) => readers[buffer] === 1)),
    );
    const [readFirst, reads] = ranges(
      tasks.map(({ reads = [] }) => reads.filter((buffer) => readers[buffer] > 1)),
    );
    return {
      tasks: tasks.length,
      streams: this.lastOnStream.length,
      streamOwners: this.streamOwners,
      streamNames: this.streamNames,
      buffers: this.accounts.length,
      blockers: Int32Array.from(predecessors, (before) => before.length),
      successorFirst,
      successors: successorList,
      predecessorFirst,
      predecessors: predecessorList,
      streamFirst,
      streamsOf,
      allocationFirst,
      allocations,
      freeFirst,
      frees,
      readFirst,
      reads,
      transferOf: Int32Array.from(tasks, (task) => task.transfer ?? -1),
      labels: Int32Array.from(tasks, (task) => task.label ?? 0),
      owners: Int32Array.from(tasks, ({ streams }) =>
        streams.length === 1 ? this.streamOwners[streams[0]] : -1,
      ),
      accounts: Int32Array.from(this.accounts),
      readers,
    };
  }
}

function ranges(lists: readonly (readonly number[])[]): [Int32Array, Int32Array] {
  const first = new Int32Array(lists.length + 1);
  lists.forEach((list, i) => (first[i + 1] = first[i] + list.length));
  return [first, Int32Array.from(lists.flat())];
}
