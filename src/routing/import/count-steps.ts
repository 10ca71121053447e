import { TraceError, type Phase } from '../trace/trace.js';
import type { ImportJob, KnownHeader, OpenTrace } from './format.js';
import type { CountColumns } from '../trace/native-columns.js';
import type { CountTraceWriter } from '../trace/native-writer.js';

/** Writes whole steps of counts, leaving out those in which nothing was routed. */
export class CountSteps {
  private readonly trace: OpenTrace<CountTraceWriter>;
  private steps = 0;
  private idle = 0;

  constructor(
    private readonly job: ImportJob,
    header: KnownHeader,
    has: CountColumns = { phases: false, padding: false },
  ) {
    this.trace = job.counts(header, has);
  }

  /** Number of the next step. */
  get next(): number {
    return this.steps;
  }

  /**
   * @param place what the step is called in the recording, for messages
   * @param layers copies by layer, [source · experts + expert]
   * @param marks copies of padding in the same order, and the step's phase, where the trace has them
   */
  add(
    place: string,
    layers: readonly ArrayLike<number>[],
    marks: { padding?: readonly ArrayLike<number>[]; phase?: Phase } = {},
  ): void {
    const empty = layers.findIndex((counts) => !hasCopies(counts));
    if (empty >= 0) {
      if (!layers.some(hasCopies)) {
        this.idle++;
        return;
      }
      throw new TraceError(
        `${place}, layer ${empty}`,
        'no copies, where other layers have some',
        'copies in every layer',
      );
    }
    layers.forEach((counts, layer) =>
      this.trace.writer.add({ step: this.steps, layer, phase: marks.phase }, counts, marks.padding?.[layer]),
    );
    this.steps++;
  }

  finish(known: { stepOrder?: 'unknown'; phase?: Phase } = {}) {
    if (this.steps === 0) throw new TraceError('', 'no step with copies', 'at least one');
    if (this.idle > 0) this.job.note(`${this.idle} recorded steps without copies are left out`);
    return this.trace.finish({ steps: this.steps, ...known });
  }
}

function hasCopies(counts: ArrayLike<number>): boolean {
  for (let i = 0; i < counts.length; i++) if (counts[i] > 0) return true;
  return false;
}
