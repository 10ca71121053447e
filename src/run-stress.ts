import { dirname } from 'node:path';
import { FileCache, hashOf } from './files/index.js';
import {
  selectSequences,
  someSteps,
  TraceError,
  type RoutingSource,
  type TokenTrace,
  type Trace,
} from './routing/index.js';
import {
  equalWeights,
  largestRadius,
  stress,
  type PlanSpec,
  type Segment,
  type SegmentChoice,
  type Stressed,
  type StressReport,
} from './robustness/index.js';
import { inFile, openFiles, openScenario, type OpenedScenario } from './run.js';
import { resolveModel, resolveScenario, ScenarioError, type ScenarioContents } from './scenario/index.js';
import { withoutSchema } from './simulation/index.js';
import { VERSION } from './version.js';

/** How to stress a scenario. */
export interface StressRequest {
  segments: SegmentChoice;
  /** Weights that divergence is measured from: of every segment the same, or its share of the recording. */
  mix: StressReport['segments']['mix'];
  /** Radii of the curve, nats; the largest that means anything is added. */
  radii: readonly number[];
  /** Null: plan nothing. */
  plan: PlanSpec | null;
  /** Called after every segment with how many are done, and how many there are. */
  onSegment?: (done: number, of: number) => void;
}

/**
 * Runs a scenario's policies on the segments of its routing, finds the mixture that costs each most, and plans a
 * placement against it.
 * @param input the scenario as its file holds it
 * @param file its name, for messages and for the paths in it
 * @throws ScenarioError, TraceError or FileError
 */
export async function stressScenario(
  input: unknown,
  file: string,
  request: StressRequest,
): Promise<Stressed> {
  const files = new FileCache();
  const opened = await openScenario(input, { file, files });
  const { scenario, resolved } = opened;
  const { phase, routing } = scenario.workload;
  if (phase === 'training') {
    throw new ScenarioError(
      file,
      'workload.phase',
      phase,
      'prefill or decode: what is stressed is inference',
    );
  }
  if (resolved.faults.length > 0) {
    throw new ScenarioError(file, 'cluster.faults', 'faults', 'nothing in a stress: epsim run shows them');
  }
  if (resolved.offload !== null) {
    throw new ScenarioError(file, 'offload', 'offload', 'nothing in a stress: epsim run shows it');
  }
  if (routing.kind === 'trace' && routing.part !== undefined) {
    throw new ScenarioError(
      file,
      'workload.routing.part',
      JSON.stringify(routing.part),
      'nothing in a stress, which cuts the recording itself',
    );
  }
  const { contents } = await openFiles(scenario, file, dirname(file), files);
  const cutter = new Cutter(opened, contents);
  const { segments, leftOut, hashes } = await cutter.cut(request.segments, files);
  const given =
    request.mix === 'equal'
      ? equalWeights(segments.length)
      : Float64Array.from(segments, ({ share }) => share);
  const largest = largestRadius(given);
  const radii = [...request.radii.filter((radius) => radius < largest), largest];
  const { machine, runtime, warmup, policies } = resolved;
  let done = 0;
  const { map, ...found } = inFile(file, () =>
    stress({
      segments,
      given,
      radii,
      policies,
      warmup,
      plan: request.plan,
      site: resolved,
      onSegment: () => request.onSegment?.(++done, segments.length),
    }),
  );
  const { cluster, shape } = machine;
  const report: StressReport = {
    schema: 'epsim/stress@1',
    version: VERSION,
    inputs: hashOf([opened.inputs, JSON.stringify({ ...request, onSegment: undefined }), ...hashes]),
    scenario: withoutSchema(scenario),
    model: shape.name,
    cluster: { gpu: cluster.gpu.name, gpus: cluster.gpus, gpusPerNode: cluster.gpusPerNode },
    runtime: runtime.preset,
    layers: [...segments[0].scoring.layerIds],
    tokensPerGpu: segments[0].scoring.tokensPerGpu,
    segments: {
      by: request.segments.kind,
      mix: request.mix,
      list: segments.map(({ name, planning, scoring }, i) => ({
        name,
        weight: given[i],
        planningSteps: planning.steps,
        scoringSteps: scoring.steps,
      })),
    },
    radii,
    ...found,
    notes: [...leftOut, ...found.notes, ...resolved.notes],
  };
  return { report, map };
}

/** A run of sequences of a trace, by their numbers. */
interface Group {
  name: string;
  trace: TokenTrace;
  sequences: number[];
}

/** Cuts a scenario's routing into segments, each into two halves. */
class Cutter {
  constructor(
    private readonly opened: OpenedScenario,
    private readonly contents: ScenarioContents,
  ) {}

  async cut(
    choice: SegmentChoice,
    files: FileCache,
  ): Promise<{ segments: Segment[]; leftOut: string[]; hashes: string[] }> {
    const { routing } = this.opened.scenario.workload;
    if (choice.kind === 'traces') return this.cutTraces(choice.paths, files);
    const { trace } = this.contents;
    if (choice.kind === 'domains') {
      const { segments, leftOut } = this.cutDomains(trace);
      return { segments, leftOut, hashes: [] };
    }
    const { windows } = choice;
    if (trace !== undefined && this.hasSequences(trace)) {
      const groups = windowsOf(trace, windows);
      return { segments: this.halved(groups), leftOut: [], hashes: [] };
    }
    const source = trace === undefined ? this.generated() : this.replayed(trace, routing.kind);
    return { segments: stepWindows(source, windows, this.opened.file), leftOut: [], hashes: [] };
  }

  /** Whole sequences can be taken, since steps are made of them. */
  private hasSequences(trace: Trace): trace is TokenTrace {
    const { routing } = this.opened.scenario.workload;
    if (trace.kind === 'counts' || trace.sequenceStarts === null || routing.kind !== 'trace') return false;
    return (routing.batching ?? (trace.batches === null ? 'shuffled' : 'recorded')) !== 'recorded';
  }

  private cutDomains(trace: Trace | undefined): { segments: Segment[]; leftOut: string[] } {
    const { file } = this.opened;
    if (
      trace === undefined ||
      !this.hasSequences(trace) ||
      trace.sequenceDomains === null ||
      trace.header.domains === undefined
    ) {
      throw new ScenarioError(
        file,
        'workload.routing',
        'no sequences with domains',
        'a recording whose sequences name their domains (docs/traces.md) and a batching of sequences or tokens, or ' +
          '--segments windows:<n> or traces:<path>,<path>',
      );
    }
    const { header, sequenceDomains } = trace;
    const groups = header.domains!.map((name, domain) => ({
      name,
      trace,
      sequences: [...sequenceDomains.keys()].filter((i) => sequenceDomains[i] === domain),
    }));
    const kept: Segment[] = [];
    const short: string[] = [];
    for (const group of groups) {
      try {
        kept.push(...this.halved([group], trace.tokens));
      } catch (error) {
        if (!(error instanceof TraceError)) throw error;
        short.push(group.name);
      }
    }
    if (kept.length < 2) {
      throw new ScenarioError(
        file,
        'workload.routing',
        `${kept.length} of ${groups.length} domains with enough tokens for a step in each half`,
        'two or more: a smaller workload.tokensPerGpu, or a longer recording',
      );
    }
    const all = kept.reduce((sum, { share }) => sum + share, 0);
    return {
      segments: kept.map((segment) => ({ ...segment, share: segment.share / all })),
      leftOut:
        short.length === 0
          ? []
          : [
              `left out, too short for a step in each half: ${short.length} of ${groups.length} domains (${short.join(', ')})`,
            ],
    };
  }

  private async cutTraces(
    paths: readonly string[],
    files: FileCache,
  ): Promise<{ segments: Segment[]; leftOut: string[]; hashes: string[] }> {
    const { file, scenario } = this.opened;
    if (scenario.workload.routing.kind !== 'trace') {
      throw new ScenarioError(
        file,
        'workload.routing.kind',
        scenario.workload.routing.kind,
        'trace with --segments traces, or --segments windows:<n>',
      );
    }
    const { topK } = resolveModel(scenario, file, this.contents.modelConfig);
    const traces = await Promise.all(paths.map((path) => files.trace(path, process.cwd(), topK)));
    const tokens = traces.map(({ content }) => tokensOf(content));
    const all = tokens.reduce((sum, own) => sum + own, 0);
    const segments = traces.flatMap(({ content: trace }, i) => {
      if (this.hasSequences(trace)) {
        const sequences = [...trace.sequenceStarts!.keys()].slice(0, -1);
        return this.halved([{ name: paths[i], trace, sequences }], all);
      }
      const source = this.replayed(trace, paths[i]);
      return [
        { name: paths[i], share: tokens[i] / all, ...stepHalves(source, 0, source.steps, paths[i], file) },
      ];
    });
    return { segments, leftOut: [], hashes: traces.map(({ sha256 }) => sha256) };
  }

  /** @param all tokens that shares refer to; default: those of the groups' trace */
  private halved(groups: readonly Group[], all = groups[0].trace.tokens): Segment[] {
    return groups.map(({ name, trace, sequences }) => {
      if (sequences.length < 2) {
        throw new TraceError(
          `segment ${name}`,
          `so few sequences: ${sequences.length}`,
          'two or more in a segment, one to plan on and one to score',
        );
      }
      const lengthOf = (i: number) => trace.sequenceStarts![i + 1] - trace.sequenceStarts![i];
      const tokens = sequences.reduce((sum, i) => sum + lengthOf(i), 0);
      let before = 0;
      const middle = sequences.findIndex((i) => (before += lengthOf(i)) * 2 >= tokens) + 1;
      const cut = Math.min(middle, sequences.length - 1);
      const halves = [sequences.slice(0, cut), sequences.slice(cut)];
      const [planning, scoring] = halves.map((half, i) => {
        const what = `segment ${name}, ${['planning', 'held-out'][i]} half`;
        const wanted = new Set(half);
        return this.replayed(
          selectSequences(trace, (own) => wanted.has(own))!,
          what,
        );
      });
      return { name, share: tokens / all, planning, scoring };
    });
  }

  private generated(): RoutingSource {
    return this.resolve(this.contents, this.opened.scenario.workload.steps);
  }

  /** A trace under the scenario's batching, in as many steps as it holds and the scenario asks for. */
  private replayed(trace: Trace, what: string): RoutingSource {
    const { routing, steps } = this.opened.scenario.workload;
    const resamples = routing.kind === 'trace' && routing.resample;
    try {
      const source = this.resolve({ ...this.contents, trace }, resamples ? steps : undefined);
      return someSteps(source, 0, Math.min(source.steps, steps ?? source.steps));
    } catch (error) {
      if (error instanceof TraceError) throw error.within(what);
      throw error;
    }
  }

  /** The routing alone: no policy sets a part of it aside. */
  private resolve(contents: ScenarioContents, steps: number | undefined): RoutingSource {
    const { scenario, file } = this.opened;
    const workload = { ...scenario.workload, steps };
    return resolveScenario({ ...scenario, workload, policies: ['ep'] }, file, contents).source;
  }
}

function tokensOf(trace: Trace): number {
  if (trace.kind === 'tokens') return trace.tokens;
  const copies = trace.steps.reduce((sum, { layers: [first] }) => sum + first.reduce((a, b) => a + b, 0), 0);
  return copies / trace.header.topK;
}

/** Windows of about equally many tokens, in whole sequences. */
function windowsOf(trace: TokenTrace, windows: number): Group[] {
  const starts = trace.sequenceStarts!;
  const groups = Array.from({ length: windows }, (_, i): Group => ({
    name: `window ${i + 1}`,
    trace,
    sequences: [],
  }));
  for (let i = 0; i + 1 < starts.length; i++) {
    groups[Math.floor((starts[i] * windows) / trace.tokens)].sequences.push(i);
  }
  return groups;
}

function stepWindows(source: RoutingSource, windows: number, file: string): Segment[] {
  const { steps } = source;
  const at = (window: number) => Math.floor((window * steps) / windows);
  return Array.from({ length: windows }, (_, i) => {
    const name = `steps ${at(i)} to ${at(i + 1) - 1}`;
    return {
      name,
      share: (at(i + 1) - at(i)) / steps,
      ...stepHalves(source, at(i), at(i + 1), `${steps} steps in ${windows} windows`, file),
    };
  });
}

/** The first half of a run of steps, and the second. */
function stepHalves(
  source: RoutingSource,
  from: number,
  until: number,
  what: string,
  file: string,
): Pick<Segment, 'planning' | 'scoring'> {
  if (until - from < 2) {
    throw new ScenarioError(
      file,
      'workload.steps',
      what,
      'two steps or more in a segment: one plans, one is held out',
    );
  }
  const middle = Math.ceil((from + until) / 2);
  return { planning: someSteps(source, from, middle), scoring: someSteps(source, middle, until) };
}
