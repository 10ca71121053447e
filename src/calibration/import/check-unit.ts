import { max, median } from 'd3-array';
import { bitsOf, gpuPresets } from '../../hardware/index.js';
import { MeasurementError } from '../measurement-error.js';
import type { PublishedRow } from '../measurements.js';

const gpus = Object.values(gpuPresets);
const FLOPS = max(gpus, (gpu) => gpu.fp8Flops ?? gpu.bf16Flops)!;
const MEMORY = max(gpus, (gpu) => gpu.memoryBandwidth)!;
const LINK = max(gpus, (gpu) => gpu.nvlinkBandwidth)!;

/** Order of the least that a kernel on all of a GPU, or a collective, takes however small it is. */
const FLOOR_SECONDS = 10e-6;

/**
 * What a row's time is expected to be at least, within a factor of ten: no GPU that is known does it faster.
 * Published tables stand at a tenth to eight tenths of it in the median, so that a factor of a thousand shows.
 */
const SHARE = { low: 1 / 200, high: 10 };

/**
 * Refuses a table whose times are in another unit than its format has.
 * @param column that holds the times
 * @param unit of the format
 * @throws MeasurementError
 */
export function checkUnit(rows: readonly PublishedRow[], file: string, column: string, unit: string): void {
  const share = median(rows, (row) => expectedSeconds(row) / row.seconds)!;
  if (share >= SHARE.low && share <= SHARE.high) return;
  const speed = share < 1 ? `1/${Math.round(1 / share)}` : `${Math.round(share)} times`;
  throw new MeasurementError(
    file,
    `column ${column}`,
    `times that make the median row run at ${speed} of the speed of the fastest GPU known`,
    `times in ${unit}`,
  );
}

function expectedSeconds(row: PublishedRow): number {
  switch (row.op) {
    case 'moe-layer': {
      const { tokens, topK, experts, hiddenSize, expertHiddenSize } = row;
      const shards = row.tensorParallel * row.expertParallel;
      const flop = (6 * hiddenSize * expertHiddenSize * tokens * topK) / shards;
      const bytes =
        (3 * hiddenSize * expertHiddenSize * Math.min(experts, tokens * topK) * bitsOf(row.weightDtype)) /
        (8 * shards);
      return FLOOR_SECONDS + flop / FLOPS + bytes / MEMORY;
    }
    case 'collective':
      return FLOOR_SECONDS + row.bytes / LINK;
    case 'token-exchange':
      return FLOOR_SECONDS + (row.tokensPerGpu * row.topK * row.hiddenSize) / LINK;
  }
}
