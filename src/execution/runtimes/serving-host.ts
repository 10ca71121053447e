import { z } from 'zod';
import type { PolicyTraits } from '../../balancing/index.js';
import type { Profile } from '../../hardware/index.js';

/** What the host of a serving engine does for a layer. Seconds. */
export interface ServingHost {
  /** graph: kernels were captured once and are replayed without the host; eager: launched one by one. */
  mode: 'graph' | 'eager';
  /** Batch sizes per GPU for which there is a graph, ascending; a batch is filled up to the next one. */
  capturedTokens: readonly number[];
  /** Seconds to launch a kernel; null: the profile's. */
  launchSeconds: number | null;
  /** Kernels of a layer up to its dispatch, and after. */
  frontKernels: number;
  backKernels: number;
  /** Whether the host reads what every GPU will receive before the dispatch can be launched. */
  blockingRead: boolean;
  /** What a small kernel takes however little it does. */
  smallKernelSeconds: number;
  /** Who plans, for policies that plan each batch; published: who does in what is published of the policy. */
  planner: 'published' | 'host' | 'gpu';
  /** What a plan of the host takes that is not gated; null: `HOST_PLAN`. */
  hostPlanSeconds: number | null;
  /** A plan by a kernel; null: what is published of the policy, else `PLAN_KERNEL`. */
  planKernelSeconds: number | null;
  postSecondsPerTransfer: number;
}

/** Sizes that vLLM captures by default: 1, 2, 4, multiples of 8 to 256, of 16 to 512. */
const CAPTURED_TOKENS: readonly number[] = [
  ...[1, 2, 4],
  ...Array.from({ length: 32 }, (_, i) => 8 * (i + 1)),
  ...Array.from({ length: 16 }, (_, i) => 256 + 16 * (i + 1)),
];

const seconds = z.number().nonnegative();

/** Options that runtimes of serving engines share. */
export const planOptions = {
  launchSeconds: seconds
    .optional()
    .describe("Host time to launch a kernel; default: the profile's kernelLaunchSeconds."),
  smallKernelSeconds: seconds
    .default(3e-6)
    .describe('What router, top-k and quantising take each however little they do; a first guess.'),
  planner: z
    .enum(['published', 'host', 'gpu'])
    .default('published')
    .describe(
      'Who plans for policies that plan each batch. host: counts are read, which no CUDA graph can hold, so that ' +
        'the layer is launched kernel by kernel; gpu: a kernel plans; published: a kernel where what is published of ' +
        'the policy has one (ultraep, lp, lp-sampled, fewest-active, waterfill), else the host.',
    ),
  planSeconds: seconds
    .optional()
    .describe(
      'Host time of a plan in compiled code, besides the blocking read, for policies that the host plans for. Default: ' +
        '200 µs, a first guess.',
    ),
  planKernelSeconds: seconds
    .optional()
    .describe(
      'A plan by a kernel, for policies that one plans for (see planner). Default: 100 µs for lp and lp-sampled ' +
        '(LPLB), 20 µs for fewest-active and 10 µs for waterfill ' +
        "(first guesses), 75 µs for others (67 to 78 µs: UltraEP's figures, arXiv 2606.04101).",
    ),
  postSecondsPerTransfer: seconds
    .default(10e-6)
    .describe('Host time to post one weight transfer; a first guess.'),
};

/** Options of runtimes that CUDA graphs can hold. */
export const graphOptions = {
  ...planOptions,
  host: z
    .enum(['graph', 'eager'])
    .default('graph')
    .describe(
      'graph: kernels are replayed from a CUDA graph, for batches that one was captured for; eager: the host ' +
        'launches them one by one.',
    ),
  capturedTokens: z
    .array(z.int().min(1))
    .min(1)
    .refine((sizes) => sizes.every((size, i) => i === 0 || size > sizes[i - 1]), { error: 'ascending' })
    .default([...CAPTURED_TOKENS])
    .describe(
      'Tokens per GPU for which there is a graph: the fullest source GPU decides, and all are filled up to the next ' +
        "size; above the last one kernels are launched one by one. Default: vLLM's sizes.",
    ),
};

type PlanOptions = z.infer<z.ZodObject<typeof planOptions>>;

/** The host of a runtime from its options. @param more what they do not say */
export function servingHost(
  {
    planner,
    planSeconds,
    planKernelSeconds,
    postSecondsPerTransfer,
    launchSeconds,
    smallKernelSeconds,
  }: PlanOptions,
  more: Pick<ServingHost, 'mode' | 'capturedTokens' | 'frontKernels' | 'backKernels' | 'blockingRead'>,
): ServingHost {
  return {
    ...more,
    launchSeconds: launchSeconds ?? null,
    smallKernelSeconds,
    planner,
    hostPlanSeconds: planSeconds ?? null,
    planKernelSeconds: planKernelSeconds ?? null,
    postSecondsPerTransfer,
  };
}

/** What a policy's plans take, where it plans each batch. */
export interface Planner {
  by: 'host' | 'gpu';
  /** Of a plan that is not gated, without what reading counts and posting transfers take. */
  seconds: number;
  /** Where the seconds are from. */
  source: string;
}

/** Compiled code on the host. */
const HOST_PLAN: Planner = { by: 'host', seconds: 200e-6, source: 'first guesses' };

/** A kernel for policies of which nobody has published one. */
const PLAN_KERNEL = { seconds: 75e-6, source: 'policies of which no kernel is published: UltraEP’s figures' };

/** null for a policy that does not plan each batch. */
export function plannerOf(host: ServingHost, { plansEachBatch, planKernel }: PolicyTraits): Planner | null {
  if (!plansEachBatch) return null;
  if (host.planner === 'host' || (host.planner === 'published' && planKernel === null)) {
    return host.hostPlanSeconds === null
      ? HOST_PLAN
      : { by: 'host', seconds: host.hostPlanSeconds, source: 'planSeconds; the rest first guesses' };
  }
  if (host.planKernelSeconds !== null) {
    return { by: 'gpu', seconds: host.planKernelSeconds, source: 'planKernelSeconds' };
  }
  return { by: 'gpu', ...(planKernel ?? PLAN_KERNEL) };
}

/**
 * Tokens that every GPU's batch is filled up to: the captured size that holds the fullest GPU's.
 * @param planner of the policy
 * @returns null where kernels are launched one by one, and nothing is filled up
 */
export function capturedTokens(
  host: ServingHost,
  planner: Planner | null,
  tokensBySource: ArrayLike<number>,
): number | null {
  // What the host plans no graph can hold.
  if (host.mode === 'eager' || planner?.by === 'host') return null;
  let most = 0;
  for (let gpu = 0; gpu < tokensBySource.length; gpu++) most = Math.max(most, tokensBySource[gpu]);
  return host.capturedTokens.find((size) => size >= most) ?? null;
}

/** Host time to launch a kernel. */
export function launchSeconds({ launchSeconds: own }: ServingHost, { kernelLaunchSeconds }: Profile): number {
  return own ?? kernelLaunchSeconds;
}

/**
 * Seconds of a plan: a host reads the counts first, and posts transfers of weights after.
 * @param transfers weight transfers that the GPU takes part in
 */
export function planSeconds(
  host: ServingHost,
  { by, seconds }: Planner,
  { hostSyncSeconds }: Profile,
  gated: boolean,
  transfers: number,
): number {
  const posting = transfers * host.postSecondsPerTransfer;
  if (by === 'gpu') return seconds + (transfers > 0 ? hostSyncSeconds + posting : 0);
  return hostSyncSeconds + (gated ? 0 : seconds + posting);
}

/** What planning costs a policy that plans each batch, for the result. */
export function hostNotes(name: string, host: ServingHost, profile: Profile, traits: PolicyTraits): string[] {
  const planner = plannerOf(host, traits);
  if (planner === null) return [];
  const micro = (value: number) => `${Math.round(value * 1e6)} µs`;
  if (planner.by === 'gpu')
    return [`${name}: a plan of each batch by a kernel takes ${micro(planner.seconds)} (${planner.source})`];
  const kernels = host.frontKernels + host.backKernels;
  const launches = kernels * launchSeconds(host, profile);
  const plan = planSeconds(host, planner, profile, false, 0);
  const eager =
    host.mode === 'graph'
      ? `leave the CUDA graph: ${kernels} launches of ${micro(launches)} a layer, of which some hide, and `
      : '';
  const which = host.planner === 'published' ? ', and of which no kernel is published,' : '';
  return [
    `${name}: policies that plan each batch${which} do so on the host and ${eager || 'pay '}${micro(plan)} for reading ` +
      `the counts and planning (${planner.source}; planner: "gpu" for a kernel)`,
  ];
}
