import { group as groupBy } from 'd3-array';
import { gpuPresets, profileSchema, type ExpertStage, type Gpu, type Profile } from '../../hardware/index.js';
import { MeasurementError } from '../measurement-error.js';
import type { CollectiveRow, Measurements, MoeLayerRow, Timed, TokenExchangeRow } from '../measurements.js';
import { stageRowsOf, stageRowsOfTimed, type StageRow } from './expert-rows.js';
import { fitDevice } from './device.js';
import { calibratedStage, type StageSetting } from './expert-stage.js';
import { withLookups } from './lookup.js';
import { fitNvlink, fitTokenExchanges, nvlinkRows } from './network.js';

/** One expert-stage kernel to be fitted: which rows, and what they are. */
interface KernelRows {
  setting: StageSetting;
  rows: StageRow[];
}

/** Fewest rows of one kernel that a fit is made of. */
const FEWEST_ROWS = 24;

/** How a fit goes beyond the measurements. */
export interface FitOptions {
  /** What unequal work does to kernels that were timed on balanced rows alone, learnt on another GPU. */
  skewFrom?: Profile;
  /** Keep factors on the form for shapes that were measured at many sizes; default true. */
  lookups?: boolean;
  /** Told what was fitted and what was left. */
  onNote?: (note: string) => void;
}

/**
 * A profile with everything that the measurements reach fitted, and the rest taken over from `base`.
 * @param base profile of the same GPU
 * @throws MeasurementError where nothing can be fitted, or the measurements are another GPU's
 */
export function fitProfile(
  measured: readonly { file: string; measurements: Measurements }[],
  base: Profile,
  name: string,
  { skewFrom, lookups = true, onNote = () => undefined }: FitOptions = {},
): Profile {
  const gpu = gpuPresets[base.gpu];
  const { file } = measured[0];
  if (gpu === undefined) {
    throw new MeasurementError(file, 'gpu of the base profile', base.gpu, Object.keys(gpuPresets).join(', '));
  }
  const rows = measured.flatMap(({ measurements }) => measurements.rows);
  const ofOp = <Row>(op: string) => rows.filter((row) => 'op' in row && row.op === op) as Row[];
  const timed = rows.filter((row): row is Timed => 'case' in row);
  const stages = [
    ...publishedKernels(ofOp<MoeLayerRow>('moe-layer'), gpu),
    ...timedKernels(timed, gpu),
  ].flatMap(({ setting, rows: own }) => {
    if (own.length < FEWEST_ROWS) {
      onNote(`${setting.kernel}: ${own.length} rows, at least ${FEWEST_ROWS} are fitted`);
      return [];
    }
    onNote(`${setting.kernel}: fitting ${own.length} rows`);
    const stage = withSkewOf(skewFrom, calibratedStage(own, setting));
    if (!lookups) return stage;
    const looked = withLookups(stage, own, setting);
    if (looked.lookups.length > 0) onNote(`${setting.kernel}: ${looked.lookups.length} shapes looked up`);
    return looked;
  });

  const device = fitDevice(timed, gpu.memoryBandwidth);
  const numbers = Object.keys(device);
  if (numbers.length > 0) onNote(`the device itself: ${numbers.join(', ')}`);
  const profile: Profile = {
    ...base,
    ...device,
    name,
    expertStages: merged(stages, base.expertStages),
  };
  const collectives = ofOp<CollectiveRow>('collective');
  if (nvlinkRows(collectives).length >= FEWEST_ROWS) {
    onNote(`NVLink: fitting ${nvlinkRows(collectives).length} all-to-all rows`);
    profile.nvlink = fitNvlink(collectives, gpu.nvlinkBandwidth);
  }
  const exchanges = ofOp<TokenExchangeRow>('token-exchange');
  const kernels = fitTokenExchanges(exchanges, { nvlink: gpu.nvlinkBandwidth, nic: gpu.nicBandwidth });
  if (kernels.length > 0) {
    onNote(`DeepEP: fitting ${exchanges.length} rows at their best number of SMs`);
    profile.tokenExchanges = kernels;
  }
  if (
    stages.length === 0 &&
    numbers.length === 0 &&
    profile.nvlink === base.nvlink &&
    profile.tokenExchanges === base.tokenExchanges
  ) {
    throw new MeasurementError(
      file,
      'rows',
      `${rows.length} rows, too few of a kind for a fit`,
      `at least ${FEWEST_ROWS} rows of one expert kernel, of all-to-all ≥ 1 MiB, or of each DeepEP mode`,
    );
  }
  const software = measured.some(({ measurements }) => measurements.device.kind !== 'gpu');
  return profileSchema.parse({
    ...profile,
    // A profile is as good as its kernels: a fitted network under guessed ones is still a guess
    status: software ? 'software' : stages.length > 0 ? 'fitted' : base.status,
    sources: [
      ...measured.map(({ measurements: { source, device, rows: own } }) =>
        `${own.length} rows of ${source.name} ${source.version} (${source.licence}) on ${device.name}`.replace(
          /\s+/g,
          ' ',
        ),
      ),
      ...base.sources.map((text) => `What is not fitted: ${text}`),
    ],
  });
}

/** Fitted kernels first; of the base, what computes something that no fitted kernel does. */
function merged(fitted: readonly ExpertStage[], base: readonly ExpertStage[]): ExpertStage[] {
  return [...fitted, ...base.filter((own) => !fitted.some((stage) => covers(stage, own)))];
}

/** Whether a kernel computes all that another one does. */
function covers(stage: ExpertStage, other: ExpertStage): boolean {
  return (
    stage.stack === other.stack &&
    stage.layout === other.layout &&
    other.weightDtypes.every((dtype) => stage.weightDtypes.includes(dtype)) &&
    other.activationDtypes.every((dtype) => stage.activationDtypes.includes(dtype))
  );
}

/** The stage with what another profile's kernel of the same kind shows of skew, where its own rows show none. */
function withSkewOf(profile: Profile | undefined, stage: ExpertStage): ExpertStage {
  const taught = profile?.expertStages.find((other) => covers(other, stage))?.accuracy;
  if (!stage.accuracy || stage.accuracy.skewRange !== null || !taught) return stage;
  return { ...stage, accuracy: { ...stage.accuracy, skewRange: taught.skewRange } };
}

/** What a fit must know of rows that share kernel and formats. */
function settingOf(
  gpu: Gpu,
  kernel: Pick<StageSetting, 'kernel' | 'stack' | 'layout' | 'weightDtype' | 'activationDtype'>,
): StageSetting {
  const { activationDtype } = kernel;
  const computeDtype = activationDtype === 'fp8' || activationDtype === 'fp32' ? activationDtype : 'bf16';
  return {
    ...kernel,
    computeDtype,
    flopPerSecond: computeDtype === 'fp8' ? (gpu.fp8Flops ?? gpu.bf16Flops) : gpu.bf16Flops,
    memoryBandwidth: gpu.memoryBandwidth,
  };
}

function publishedKernels(rows: readonly MoeLayerRow[], gpu: Gpu): KernelRows[] {
  return [...groupBy(rows, ({ kernel }) => kernel).values()].map((own) => {
    const { kernel, weightDtype, activationDtype } = own[0];
    return {
      rows: stageRowsOf(own),
      setting: settingOf(gpu, { kernel, stack: 'serving', layout: 'fused', weightDtype, activationDtype }),
    };
  });
}

function timedKernels(rows: readonly Timed[], gpu: Gpu): KernelRows[] {
  const stages = rows.flatMap((row) => (row.case.op === 'expert-stage' ? [{ row, stage: row.case }] : []));
  const key = ({ row, stage }: (typeof stages)[number]) =>
    [row.kernel, stage.layout, stage.weightDtype, stage.activationDtype].join();
  return [...groupBy(stages, key).values()].map((own) => {
    const { kernel } = own[0].row;
    const { layout, weightDtype, activationDtype } = own[0].stage;
    return {
      rows: stageRowsOfTimed(own.map(({ row }) => row)),
      setting: settingOf(gpu, { kernel, stack: 'pytorch', layout, weightDtype, activationDtype }),
    };
  });
}
