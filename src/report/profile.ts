import type { Accuracy, ExpertStage, Link, Profile, Range, TokenExchangeCost } from '../hardware/index.js';
import { formatSeconds, formatShare } from './units.js';

/** A profile as a person reads it: what every number is, how good it is, and where it comes from. */
export function profileText(profile: Profile): string {
  const { name, gpu, status, expertStages, nvlink, nic, hostLink, tokenExchanges } = profile;
  const lines = [`${name}: ${gpu}, ${status}`, ''];
  for (const stage of expertStages) {
    lines.push(
      `Expert stage ${stage.layout}, ${stage.weightDtypes.join('/')} × ${stage.activationDtypes.join('/')}, ` +
        `${stage.stack} (${stage.kernel})`,
      `  products ${teraflops(stage.flopPerSecond)}, rows rounded to ${stage.rowRounding}` +
        (stage.columnRounding > 1 ? `, columns to ${stage.columnRounding}` : ''),
      `  weights at ${rate(stage.weightBytesPerSecond)}, soft maximum with exponent ${stage.softMaxExponent.toFixed(2)}`,
      `  activations ${stage.hiddenWidths.toFixed(1)} D + ${stage.expertHiddenWidths.toFixed(1)} H per row, ` +
        `${stage.inputWidths.toFixed(1)} D per token, at ${rate(stage.activationBytesPerSecond)}`,
      `  launch ${formatSeconds(stage.launchSeconds)} + ${nano(stage.perHiddenElementSeconds)} per D, ` +
        `${nano(stage.perSlotSeconds)} per expert held, ${nano(stage.perActiveExpertSeconds)} per active expert, ` +
        `${nano(stage.perChoiceSeconds)} per choice`,
      ...accuracyLines(stage.accuracy),
      ...lookupLines(stage),
      '',
    );
  }
  lines.push(linkLine('NVLink', nvlink), ...accuracyLines(nvlink.accuracy));
  lines.push(linkLine('NIC', nic), ...accuracyLines(nic.accuracy));
  lines.push(linkLine('Host', hostLink), '');
  for (const cost of tokenExchanges) lines.push(tokenExchangeLine(cost), ...accuracyLines(cost.accuracy));
  if (tokenExchanges.length > 0) lines.push('');
  lines.push(
    `Copies ${rate(profile.copyBytesPerSecond)}, gathers ${rate(profile.gatherBytesPerSecond)} (read and written); ` +
      `launch ${formatSeconds(profile.kernelLaunchSeconds)}, blocking read ${formatSeconds(profile.hostSyncSeconds)}`,
    ...accuracyLines(profile.copyAccuracy),
    '',
    'Sources',
    ...profile.sources.map((source) => `  ${source}`),
  );
  if (profile.weakSpots.length > 0) {
    lines.push('', 'Known weak spots', ...profile.weakSpots.map((spot) => `  ${spot}`));
  }
  return lines.join('\n');
}

function lookupLines({ lookups, lookupAccuracy }: ExpertStage): string[] {
  if (lookups.length === 0) return [];
  const shapes = new Set(
    lookups.map(({ hiddenSize, expertHiddenSize }) => `${hiddenSize} × ${expertHiddenSize}`),
  );
  return [
    `  looked up: ${[...shapes].join(', ')}, at ${lookups.length} numbers of experts held`,
    ...(lookupAccuracy === undefined ? [] : accuracyLines(lookupAccuracy)),
  ];
}

function accuracyLines(accuracy: Accuracy | undefined): string[] {
  if (accuracy === undefined) return ['  not fitted: no measurement stands behind these numbers'];
  const { how, rows, mape, median, bias, sharedRange, rowRange, skewRange } = accuracy;
  return [
    `  error on ${rows} rows, ${how}: mean ${formatShare(mape)}, median ${formatShare(median)}, ` +
      `bias ${formatShare(bias)}`,
    `  measured over predicted, 90 %: ${span(sharedRange)} for all rows of a shape, ${span(rowRange)} for one of them` +
      (skewRange === null ? '' : `, ${span(skewRange)} for skewed over balanced`),
  ];
}

function span([low, high]: Range): string {
  return `${low.toFixed(2)} to ${high.toFixed(2)}`;
}

function linkLine(name: string, link: Link): string {
  const ramp = link.rampSecondsPerRootByte;
  return (
    `${name}: ${rate(link.bytesPerSecond)}, latency ${formatSeconds(link.latencySeconds)}` +
    (ramp > 0 ? `, ramp ${formatSeconds(ramp * 2 ** 10)} at 1 MiB` : '')
  );
}

function tokenExchangeLine(cost: TokenExchangeCost): string {
  const { mode, direction, nicBytesPerSecond: nic } = cost;
  const start = `DeepEP ${mode} ${direction}, ${cost.across ? 'between nodes' : 'inside a node'}: `;
  const perNode = cost.across ? ` + ${formatSeconds(cost.latencySecondsPerNode)} per further node` : '';
  return (
    `${start}NVLink ${rate(cost.nvlinkBytesPerSecond)}${nic === null ? '' : `, NIC ${rate(nic)}`}, ` +
    `latency ${formatSeconds(cost.latencySeconds)}${perNode}`
  );
}

function rate(bytesPerSecond: number): string {
  return bytesPerSecond >= 1e12
    ? `${(bytesPerSecond / 1e12).toFixed(2)} TB/s`
    : `${(bytesPerSecond / 1e9).toFixed(1)} GB/s`;
}

function teraflops(flopPerSecond: number): string {
  return `${(flopPerSecond / 1e12).toFixed(0)} TFLOP/s`;
}

function nano(seconds: number): string {
  return seconds >= 1e-6 ? formatSeconds(seconds) : `${(seconds * 1e9).toFixed(2)} ns`;
}
