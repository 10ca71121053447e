import type { PolicyResult } from '../../simulation/index.js';
import { isInputRefusal } from '../refusal.js';
import { figuresOf, formatGib, isSure, policyAt, ratioText, speedupText, type Interval } from '../figures.js';
import { Unanswerable, type Answer, type Desk, type Question, type Variant } from '../question.js';

/** The runtime whose tokens are on every GPU anyway, so that experts can be sliced. */
const SLICING = 'allgather-reducescatter';

/** How the GPUs of a run divide the experts. */
interface Layout {
  gpus: number;
  /** GPUs that share every expert. */
  tensorParallel: number;
  runtime: string;
}

/** One layout, run. */
interface Sized extends Layout {
  ep: PolicyResult;
  /** Null where experts are sliced, so that there is nothing to balance. */
  eplb: PolicyResult | null;
  /** Bytes of a GPU's experts in all MoE layers, and whether they, or the whole model in its scope, fit. */
  weightBytes: number;
  fits: boolean;
  /** ep, or another policy where it is faster beyond doubt. */
  fast: PolicyResult;
  rows: Answer['rows'];
  command: string;
}

export const epSize: Question = {
  name: 'ep-size',
  asks: 'Which EP size, and is tensor parallel better?',
  async answer(desk) {
    const { gpus, shape } = desk;
    const runtime = desk.runtime.preset;
    const left: string[] = [];
    const tried = async (layout: Layout, set: Variant['set']) => {
      try {
        return await sizedAt(desk, layout, set);
      } catch (error) {
        if (!isInputRefusal(error)) throw error;
        left.push(`${nameOf(layout)} (${error.message})`);
        return null;
      }
    };
    const sized: Sized[] = [];
    // Its own size comes first: where a recording is too short for the scenario's batch, it says which all others have.
    for (const size of [gpus, gpus / 4, gpus / 2, 2 * gpus, 4 * gpus]) {
      if (size < 2 || !Number.isInteger(size) || shape.experts % size !== 0) continue;
      const one = await tried({ gpus: size, tensorParallel: 1, runtime }, { 'cluster.gpus': size });
      if (one !== null) sized.push(one);
    }
    sized.sort((a, b) => a.gpus - b.gpus);
    if (sized.length < 2) {
      throw new Unanswerable(
        `no two sizes can be compared${left.length > 0 ? `: ${left.join('; ')}` : ` that divide ${shape.experts} experts`}`,
      );
    }
    const group = Math.min(gpus, desk.gpusPerNode);
    const sliced = (tensorParallel: number) =>
      tried(
        { gpus, tensorParallel, runtime: SLICING },
        {
          runtime: { preset: SLICING, ...(tensorParallel > 1 && { expertTensorParallel: tensorParallel }) },
        },
      );
    const whole = group > 1 ? await sliced(1) : null;
    const slices = whole === null ? null : await sliced(group);
    const all = [...sized, ...(whole && slices ? [whole, slices] : [])];
    const said = [
      sizeSentence(sized, desk),
      slices && whole ? slicedSentence(slices, whole) : 'Tensor parallel can not be compared here.',
      ...(left.length > 0 ? [`Left out: ${left.join('; ')}.`] : []),
    ];
    return {
      sentence: said.join(' '),
      rows: all.flatMap(({ rows }) => rows),
      commands: all.map(({ command }) => command),
    };
  },
};

async function sizedAt(desk: Desk, layout: Layout, set: Variant['set']): Promise<Sized> {
  const { gpus, tensorParallel, runtime } = layout;
  const { result, command } = await desk.score({
    set,
    policies: (offline) => (tensorParallel > 1 ? ['ep'] : ['ep', { kind: 'eplb', history: offline }]),
  });
  const ep = policyAt(result, 0);
  const eplb = tensorParallel > 1 ? null : policyAt(result, 1);
  const weightBytes = (desk.expertBytes * desk.shape.moeLayers * desk.shape.experts) / gpus;
  const { verdict, capacity, nonTensor } = ep.peakMemory;
  return {
    ...layout,
    ep,
    eplb,
    weightBytes,
    fits: verdict !== 'does not fit' && weightBytes + nonTensor <= capacity,
    fast: eplb !== null && isSure(eplb) === 'faster' ? eplb : ep,
    rows: [ep, ...(eplb === null ? [] : [eplb])].map((policy) => ({
      gpus,
      tensorParallel,
      runtime,
      ...figuresOf(policy),
      tokensPerSecondPerGpu: policy.tokensPerSecondPerGpu,
      weightBytesPerGpu: weightBytes,
    })),
    command,
  };
}

function sizeSentence(sized: readonly Sized[], { gpus, scope }: Pick<Desk, 'gpus' | 'scope'>): string {
  const fitting = sized.filter(({ fits }) => fits);
  const others = sized.filter(({ fits }) => !fits);
  const tooLarge =
    others.length === 0
      ? ''
      : ` Does not fit: ${others.map((one) => `${one.gpus} GPUs (${formatGib(one.weightBytes)} of experts each)`).join(', ')}.`;
  if (fitting.length === 0) return `None of ${sized.map((one) => one.gpus).join(', ')} GPUs.${tooLarge}`;
  const own = sized.find((one) => one.gpus === gpus);
  const best = fastestOf(fitting);
  const picked = own?.fits === true && !isBeyondDoubt(best, own) ? own : best;
  const ties = fitting.filter(
    (one) => one !== picked && !isBeyondDoubt(picked, one) && !isBeyondDoubt(one, picked),
  );
  const by = picked.fast === picked.ep ? 'with ep' : `with eplb, ${speedupText(picked.fast)} as fast as ep`;
  const gain =
    own === undefined || picked === own
      ? ''
      : `, ${alike(picked, own)} on the scenario's ${gpus}, for ${picked.gpus / gpus}× the GPUs`;
  const tied =
    ties.length === 0
      ? ''
      : ` Not to be told from it: ${ties.map((one) => `${one.gpus} GPUs (${alike(one, picked)} on ${picked.gpus})`).join(', ')}.`;
  return (
    `${picked.gpus} GPUs, of ${sized.map((one) => one.gpus).join(', ')}: ${rateOf(picked.fast)} tokens per second and GPU ` +
    `${scope === 'model' ? '' : 'through one MoE layer '}${by}${gain}, at the same tokens per GPU.${tied}${tooLarge}`
  );
}

/** Whether one has a higher rate than another, each with what is fastest there and both with the same policy. */
function isBeyondDoubt(one: Sized, other: Sized): boolean {
  return rateRatio(one.fast, other.fast).low > 1 && rateRatio(one.fast, sameIn(other, one)).low > 1;
}

/** "1.20× [1.05, 1.37] what eplb has": rates of the same policy at two sizes. */
function alike(one: Sized, other: Sized): string {
  return `${ratioText(rateRatio(one.fast, sameIn(other, one)))} what ${one.fast === one.ep ? 'ep' : 'eplb'} has`;
}

/** The policy that is fastest in one, in another. */
function sameIn(other: Sized, one: Sized): PolicyResult {
  return one.fast === one.ep ? other.ep : (other.eplb ?? other.ep);
}

function slicedSentence(slices: Sized, whole: Sized): string {
  const against = (other: PolicyResult) => {
    const ratio = rateRatio(slices.ep, other);
    return { text: ratioText(ratio), isTie: ratio.low <= 1 && ratio.high >= 1 };
  };
  const byEp = against(whole.ep);
  const byFast = against(whole.fast);
  const balanced = whole.fast === whole.ep ? '' : `, ${byFast.text} what eplb has there`;
  const doubt = byFast.isTie ? ', which the interval does not tell apart' : '';
  return (
    `Tensor parallel, ${slices.tensorParallel} GPUs to an expert: ${rateOf(slices.ep)}, ${byEp.text} what ep with whole experts has ` +
    `under the same runtime (${SLICING})${balanced}${doubt}.`
  );
}

function fastestOf(sized: readonly Sized[]): Sized {
  return sized.reduce((best, one) =>
    one.fast.tokensPerSecondPerGpu > best.fast.tokensPerSecondPerGpu ? one : best,
  );
}

/** Ratio of the rates of two runs with an interval: theirs in quadrature, since nothing pairs the runs. */
function rateRatio(a: PolicyResult, b: PolicyResult): Interval {
  const mean = a.tokensPerSecondPerGpu / b.tokensPerSecondPerGpu;
  const above = ({ stepLatency: { mean: own, high } }: PolicyResult) => Math.log(high / own);
  const below = ({ stepLatency: { mean: own, low } }: PolicyResult) => Math.log(own / low);
  return {
    mean,
    low: mean * Math.exp(-Math.hypot(above(a), below(b))),
    high: mean * Math.exp(Math.hypot(below(a), above(b))),
  };
}

/** Tokens per second and GPU with the interval that latency's gives them. */
function rateOf({ tokensPerSecondPerGpu: tokens, stepLatency: { mean, low, high } }: PolicyResult): string {
  return `${count(tokens)} [${count((tokens * mean) / high)}, ${count((tokens * mean) / low)}]`;
}

function nameOf({ gpus, tensorParallel }: Layout): string {
  return tensorParallel > 1 ? `${tensorParallel} GPUs to an expert` : `${gpus} GPUs`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}
