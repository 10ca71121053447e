import type { PolicyResult } from '../../simulation/index.js';
import { isInputRefusal } from '../refusal.js';
import { figuresOf, policyAt, speedupText } from '../figures.js';
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
    const { gpus, shape, runtime } = desk;
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
    for (const size of [gpus / 4, gpus / 2, gpus, 2 * gpus, 4 * gpus]) {
      if (size < 2 || !Number.isInteger(size) || shape.experts % size !== 0) continue;
      const one = await tried({ gpus: size, tensorParallel: 1, runtime }, { 'cluster.gpus': size });
      if (one !== null) sized.push(one);
    }
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
      slices && whole ? slicedSentence(slices, whole, sized) : 'Tensor parallel can not be compared here.',
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
  const eplb = tensorParallel > 1 ? ep : policyAt(result, 1);
  const policies = tensorParallel > 1 ? [ep] : [ep, eplb];
  const weightBytes = (desk.expertBytes * desk.shape.moeLayers * desk.shape.experts) / gpus;
  const { verdict, capacity, nonTensor } = ep.peakMemory;
  return {
    ...layout,
    ep,
    weightBytes,
    fits: verdict !== 'does not fit' && weightBytes + nonTensor <= capacity,
    fast: eplb.speedup.low > 1 ? eplb : ep,
    rows: policies.map((policy) => ({
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
      : ` Does not fit: ${others.map((one) => `${one.gpus} GPUs (${(one.weightBytes / 2 ** 30).toFixed(1)} GiB of experts each)`).join(', ')}.`;
  if (fitting.length === 0) return `None of ${sized.map((one) => one.gpus).join(', ')} GPUs.${tooLarge}`;
  const best = fastestOf(fitting);
  const own = sized.find((one) => one.gpus === gpus);
  const gain =
    own === undefined || best === own
      ? ''
      : `, ${(best.fast.tokensPerSecondPerGpu / own.ep.tokensPerSecondPerGpu).toFixed(2)}× what ep has on the scenario's ${gpus}`;
  const by = best.fast === best.ep ? 'with ep' : `with eplb, ${speedupText(best.fast)} as fast as ep`;
  return (
    `${best.gpus} GPUs, of ${sized.map((one) => one.gpus).join(', ')}: ${rateOf(best.fast)} tokens per second and GPU ` +
    `${scope === 'model' ? '' : 'through one MoE layer '}${by}${gain}, at the same tokens per GPU.${tooLarge}`
  );
}

function slicedSentence(slices: Sized, whole: Sized, sized: readonly Sized[]): string {
  const times = (other: PolicyResult) =>
    `${(slices.ep.tokensPerSecondPerGpu / other.tokensPerSecondPerGpu).toFixed(2)}×`;
  const own = sized.find(({ gpus }) => gpus === slices.gpus);
  const beside =
    own === undefined || own.runtime === SLICING
      ? ''
      : ` and ${times(own.fast)} what ${own.runtime} has with ${own.fast === own.ep ? 'ep' : 'eplb'}`;
  const balanced = whole.fast === whole.ep ? '' : `, ${times(whole.fast)} with eplb`;
  return (
    `Tensor parallel, ${slices.tensorParallel} GPUs to an expert: ${rateOf(slices.ep)}, ${times(whole.ep)} what ep has ` +
    `under the same runtime (${SLICING})${balanced}${beside}.`
  );
}

function fastestOf(sized: readonly Sized[]): Sized {
  return sized.reduce((best, one) =>
    one.fast.tokensPerSecondPerGpu > best.fast.tokensPerSecondPerGpu ? one : best,
  );
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
