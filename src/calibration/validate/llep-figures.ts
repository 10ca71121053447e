/** Published points of LLEP (arXiv 2601.17111): one MoE layer on 8 H200. */
export interface LlepPoint {
  figure: '4' | '6a' | '7a';
  tokensPerGpu: number;
  hotExperts: number;
  /** Share of the tokens that go to the hot experts. */
  share: number;
  imbalanceThreshold: number;
  /** Step time of EP over LLEP's. */
  speedup: number;
}

const SHARES = [0.3, 0.5, 0.8, 0.95];

/** Fig. 4: gpt-oss-120b, 32,768 tokens per GPU. */
const FIG_4: LlepPoint[] = [
  [16, [1.73, 2.85, 4.37, 5.19]],
  [4, [2.09, 3.05, 4.47, 5.22]],
  [1, [2.41, 3.48, 5.26, 6.11]],
].flatMap(([hotExperts, speedups]) =>
  (speedups as number[]).map((speedup, i) => ({
    figure: '4' as const,
    tokensPerGpu: 32768,
    hotExperts: hotExperts as number,
    share: SHARES[i],
    imbalanceThreshold: 1.3,
    speedup,
  })),
);

/** Fig. 6a: batch ablation, 128 experts, top 4, D = H = 2048, 4 hot experts. */
const FIG_6A: LlepPoint[] = [
  [4096, [0.66, 0.89, 1.15, 1.29]],
  [8192, [0.99, 1.33, 1.84, 2.09]],
  [16384, [1.39, 2.0, 2.78, 3.23]],
  [32768, [1.81, 2.64, 3.78, 4.29]],
  [65536, [2.24, 3.18, 4.73, 5.46]],
].flatMap(([tokensPerGpu, speedups]) =>
  (speedups as number[]).map((speedup, i) => ({
    figure: '6a' as const,
    tokensPerGpu: tokensPerGpu as number,
    hotExperts: 4,
    share: SHARES[i],
    imbalanceThreshold: 1.3,
    speedup,
  })),
);

/** Fig. 7a: threshold λ at 8,192 tokens per GPU, otherwise as Fig. 6a. */
const FIG_7A: LlepPoint[] = [
  [0.15, [0.7, 0.69, 0.7, 1.06, 1.07, 1.07]],
  [0.2, [0.73, 0.74, 0.74, 0.73, 1.04, 1.04]],
  [0.3, [0.89, 0.88, 0.9, 0.88, 0.89, 0.9]],
  [0.5, [1.21, 1.22, 1.21, 1.21, 1.21, 1.22]],
].flatMap(([share, speedups]) =>
  (speedups as number[]).map((speedup, i) => ({
    figure: '7a' as const,
    tokensPerGpu: 8192,
    hotExperts: 4,
    share: share as number,
    imbalanceThreshold: [1.1, 1.4, 1.7, 2.0, 2.3, 2.6][i],
    speedup,
  })),
);

export const LLEP_POINTS: readonly LlepPoint[] = [...FIG_4, ...FIG_6A, ...FIG_7A];

/** Fig. 4, balanced routing on gpt-oss-120b: reported, not a gate. */
export const LLEP_BALANCED_SPEEDUP = 1.07;

/** Peak memory per GPU in GiB, EP and LLEP, gpt-oss-120b (Fig. 4 bottom, Fig. 1b); share 0: balanced. */
export const LLEP_PEAKS: readonly { hotExperts: number; share: number; ep: number; llep: number }[] = [
  [0, 0, 14.6, 11.5],
  [16, 0.3, 24.5, 13.1],
  [16, 0.5, 35.7, 14.8],
  [16, 0.8, 52.6, 14.8],
  [16, 0.95, 61.1, 14.8],
  [4, 0.3, 28.3, 12.1],
  [4, 0.5, 38.5, 12.9],
  [4, 0.8, 53.7, 14.1],
  [4, 0.95, 61.3, 14.7],
  [1, 0.3, 29.1, 11.6],
  [1, 0.5, 39.1, 12.5],
  [1, 0.8, 54.0, 13.9],
  [1, 0.95, 61.4, 14.6],
].map(([hotExperts, share, ep, llep]) => ({ hotExperts, share, ep, llep }));
