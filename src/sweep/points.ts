import {
  parseInput,
  parsePath,
  parseScenario,
  partsOf,
  ScenarioError,
  setValue,
  show,
  type Scenario,
} from '../scenario/index.js';
import { createAxis } from './axes/index.js';
import { placeOf, singleAxis, type Axis, type SweptPlace } from './axes/axis.js';
import { sweepJsonSchema, sweepSchema, type Sweep } from './schema.js';

/** Points that a sweep may have: more than years of work, and few enough to be counted exactly. */
const MOST_POINTS = 1_000_000_000;

/** Checks a sweep and fills in its defaults. @throws ScenarioError */
export function parseSweep(input: unknown, file: string): Sweep {
  return parseInput(sweepSchema, input, file, sweepJsonSchema);
}

/**
 * The points of a sweep, in their order: the settings of all axes with each other, the last axis changing
 * fastest, the seeds fastest of all. Nothing is listed: any point can be had by its number.
 */
export class SweepPoints {
  readonly count: number;
  /** What is swept, in the order of the axes. */
  readonly places: readonly SweptPlace[];
  private readonly axes: readonly Axis[];
  private readonly paths: readonly string[][];

  /**
   * @param scenario the scenario that is changed, as its file holds it
   * @param file the sweep's name, for messages
   * @throws ScenarioError where axes don't fit together
   */
  constructor(
    sweep: Sweep,
    private readonly scenario: unknown,
    private readonly file: string,
  ) {
    const axes = sweep.axes.map((options, i) => {
      try {
        return createAxis(options);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        const { path, found, allowed } = partsOf(error.message, show(options));
        throw new ScenarioError(file, path === '' ? `axes[${i}]` : `axes[${i}].${path}`, found, allowed);
      }
    });
    if (sweep.seeds !== undefined) axes.push(seedAxis(sweep.seeds, scenario));
    this.axes = axes;
    this.places = axes.flatMap(({ places }) => places);
    this.paths = this.places.map(({ path }) => parsePath(path, file));
    this.checkPlaces();
    this.count = axes.reduce((product, { length }) => product * length, 1);
    if (this.count > MOST_POINTS) {
      throw new ScenarioError(
        file,
        'axes',
        `${axes.map(({ length }) => length).join(' × ')} points`,
        `at most ${MOST_POINTS}`,
      );
    }
  }

  /** Values of point `index`, one by place. */
  valuesAt(index: number): unknown[] {
    const values: unknown[][] = [];
    for (let axis = this.axes.length - 1; axis >= 0; axis--) {
      const { length } = this.axes[axis];
      values.unshift(this.axes[axis].at(index % length));
      index = Math.floor(index / length);
    }
    return values.flat();
  }

  /** The scenario of point `index`, as a file would hold it. */
  scenarioAt(index: number): unknown {
    return this.withValues(this.valuesAt(index));
  }

  /**
   * Checks every value that the axes list, each with the first values of the others, before anything runs.
   * Combinations that can't work together are found when their point runs.
   * @param scenarioFile name for messages on what the scenario itself holds
   * @returns the checked scenarios, the first point's first
   * @throws ScenarioError
   */
  *probes(scenarioFile: string): Generator<Scenario> {
    const first = this.valuesAt(0);
    yield this.checkFirst(first, scenarioFile);
    let at = 0;
    for (const axis of this.axes) {
      for (const probe of axis.probes()) {
        const values = [...first];
        values.splice(at, probe.length, ...probe);
        yield this.check(values, at, at + probe.length);
      }
      at += axis.places.length;
    }
  }

  /** @throws ScenarioError: of the sweep where a swept place is in the way, else of the scenario */
  private checkFirst(values: unknown[], scenarioFile: string): Scenario {
    try {
      return this.check(values, 0, values.length);
    } catch (error) {
      if (!(error instanceof ScenarioError) || !error.path.startsWith('scenario')) throw error;
      const path = error.path.replace(/^scenario\.?/, '');
      throw new ScenarioError(scenarioFile, path, error.found, error.allowed);
    }
  }

  /** @param from, to the places that are being tried */
  private check(values: unknown[], from: number, to: number): Scenario {
    const input = this.withValues(values);
    try {
      return parseScenario(input, this.file);
    } catch (error) {
      if (!(error instanceof ScenarioError)) throw error;
      const wrong = parsePath(error.path, this.file);
      const blamed = this.places.findIndex(
        (_, i) => i >= from && i < to && startsAlike(this.paths[i], wrong),
      );
      if (blamed < 0)
        throw new ScenarioError(this.file, `scenario.${error.path}`, error.found, error.allowed);
      const { path } = this.places[blamed];
      throw new ScenarioError(
        this.file,
        `axis ${path} = ${show(values[blamed])}`,
        error.found,
        error.allowed,
      );
    }
  }

  private withValues(values: readonly unknown[]): unknown {
    return this.paths.reduce(
      (input, path, i) => setValue(input, path, values[i], `${this.file}: axis ${this.places[i].path}`),
      this.scenario,
    );
  }

  private checkPlaces(): void {
    const seen = new Map<string, string>();
    this.places.forEach(({ path, column }, i) => {
      const place = this.paths[i].join('.');
      if (seen.has(place)) {
        throw new ScenarioError(this.file, 'axes', `${path} twice`, 'every path once');
      }
      seen.set(place, path);
      if (this.places.findIndex((other) => other.column === column) < i) {
        throw new ScenarioError(
          this.file,
          'axes',
          `two columns ${column}`,
          'a name of its own for each ("as")',
        );
      }
    });
  }
}

/** Whether one path leads through the other. */
function startsAlike(a: readonly string[], b: readonly string[]): boolean {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Replications: n seeds from the scenario's own on, or those that are listed. */
function seedAxis(seeds: NonNullable<Sweep['seeds']>, scenario: unknown): Axis {
  const own = (scenario as { seed?: number | string } | null)?.seed ?? 1;
  if (typeof seeds !== 'number') {
    return singleAxis(placeOf({ path: 'seed' }, seeds), seeds.length, (index) => seeds[index]);
  }
  return singleAxis(placeOf({ path: 'seed' }, [own]), seeds, (index) =>
    typeof own === 'number' ? own + index : `${own}/${index}`,
  );
}
