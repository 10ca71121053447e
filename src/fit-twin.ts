import { dirname, resolve } from 'node:path';
import { FileCache, readTrace, writeWhole } from './files/index.js';
import { twinCloseness } from './inspection/index.js';
import { modelPresets } from './model/index.js';
import type { TwinReport } from './report/index.js';
import { fitTwin, joinTraces, type Trace } from './routing/index.js';
import { openScenario, runOpened } from './run.js';
import { parseScenario, type ScenarioInput } from './scenario/index.js';
import type { Result } from './simulation/index.js';

/** How to fit a twin. */
export interface FitOptions {
  /** Where to write the twin. */
  out: string;
  /** EP sizes at which closeness is looked at; default: 8 and 32, as far as they divide the experts. */
  ep?: readonly number[];
  topK?: number;
  /** Where the recording comes from, and under which licence; default: what it says itself. */
  source?: string;
  licence?: string;
  /** What to run under the recording and under its twin; its routing is replaced. */
  scenario?: { input: unknown; file: string };
}

const EP_SIZES = [8, 32];
const GPUS = 8;
const STEPS = 8;

/**
 * Fits a twin to a trace, or to several of one model, writes it, and says how close it is.
 * @throws FileError, TraceError, ScenarioError; RangeError where an EP size does not fit
 */
export async function fitTrace(paths: readonly string[], options: FitOptions): Promise<TwinReport> {
  const recordings = await Promise.all(
    paths.map(async (path) => {
      const { trace } = await readTrace(path, process.cwd(), options.topK);
      return { name: path, trace };
    }),
  );
  const trace = recordings.length === 1 ? recordings[0].trace : joinTraces(recordings);
  const { experts } = trace.header;
  const ep = options.ep ?? EP_SIZES.filter((size) => size < experts && experts % size === 0);
  for (const size of ep) {
    if (size > experts || experts % size !== 0)
      throw new RangeError(`found EP size ${size}, allowed: a divisor of the ${experts} experts`);
  }
  const { source, licence } = options;
  const twin = { ...fitTwin(trace), ...(source && { source }), ...(licence && { licence }) };
  const scenario =
    recordings.length > 1
      ? 'several recordings are not replayed as one'
      : (options.scenario ?? defaultScenario(trace));
  const files = new FileCache();
  const under = async (routing: object): Promise<Result> => {
    const { input, file } = scenario as { input: ScenarioInput; file: string };
    const { workload } = parseScenario(input, file);
    const own = { ...(input as object), workload: { ...workload, routing } };
    const opened = await openScenario(own, { file, baseDir: dirname(file), files });
    return runOpened(opened).result;
  };
  const batching = trace.kind === 'tokens' && trace.sequenceStarts ? 'prefill-chunks' : 'shuffled';
  const recorded =
    typeof scenario === 'string' ? null : await under({ kind: 'trace', path: resolve(paths[0]), batching });
  await writeWhole(options.out, `${JSON.stringify(twin)}\n`);
  const drawn =
    recorded === null ? null : await under({ kind: 'twin', path: resolve(options.out), batching });
  const { popularity: _, memory: __, domains: ___, ...about } = twin;
  return {
    schema: 'epsim/twin-fit@1',
    twin: { ...about, profiles: twin.profiles.length, opening: twin.opening.length },
    closeness: twinCloseness(trace, ep),
    steps: recorded && drawn && { recorded, twin: drawn },
    whyNoSteps: typeof scenario === 'string' ? scenario : null,
  };
}

/** A scenario that fits the trace; or why there is none. */
function defaultScenario(trace: Trace): { input: ScenarioInput; file: string } | string {
  const { header } = trace;
  if (trace.kind === 'counts') return 'counts replay in steps of their own, which a twin does not have';
  const fits = Object.keys(modelPresets).filter(
    (name) => modelPresets[name].experts === header.experts && modelPresets[name].topK === header.topK,
  );
  const preset = fits.find((name) => header.model.toLowerCase().includes(name)) ?? fits[0];
  if (preset === undefined || header.experts % GPUS !== 0)
    return 'no preset has such experts; --scenario says what to run';
  const tokens = trace.tokens / (2 * GPUS * STEPS);
  if (tokens < 1) return 'the recording is too short for them';
  return {
    file: 'the default scenario',
    input: {
      model: { preset, weightDtype: 'bf16' },
      cluster: { gpu: 'h200', gpus: GPUS },
      workload: {
        phase: header.phase ?? 'prefill',
        tokensPerGpu: 2 ** Math.floor(Math.log2(tokens)),
        steps: STEPS,
        // Replaced by the recording and by its twin.
        routing: { kind: 'balanced' },
        layer: header.layerIds.length > modelPresets[preset].moeLayers! ? 0 : 'all',
      },
      policies: ['ep', 'llep', 'eplb', 'capacity'],
      resamples: 0,
      seed: 1,
    },
  };
}
