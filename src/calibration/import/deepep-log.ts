import { mean } from 'd3-array';
import { MeasurementError } from '../measurement-error.js';
import type { Measurements, TokenExchangeRow } from '../measurements.js';
import { severalRows } from './aiconfigurator.js';
import { averageRepeats } from './average-repeats.js';
import { said, type ImportOptions } from './import-options.js';
import { logLines } from './log-lines.js';

const BEST = /\[tuning\] Best (dispatch|combine)(?: \((\w+)\))?: SMs (\d+), NVL chunk \d+(.*)$/;
const LOW_LATENCY =
  /\[rank (\d+)\] Dispatch bandwidth: .*?avg_t=(\S+) us \| Combine bandwidth: .*?avg_t=(\S+) us/;

/** Ways in which versions of the tests print times, in µs; the first one may have the notification apart. */
const TIMES = [
  /: ([^\s,]+) \+ ([^\s,]+) us/,
  /transmit: ([^\s,]+) us, notify: ([^\s,]+) us/,
  /\bt: ([^\s,]+) us/,
];

/** GPUs of a node: the test across nodes runs with no other number. */
const GPUS_PER_NODE_ACROSS = 8;

type Shape = Partial<Record<'tokensPerGpu' | 'hiddenSize' | 'topK' | 'experts', number>>;

const CONFIG: Readonly<Record<keyof Shape, RegExp>> = {
  tokensPerGpu: /\bnum_tokens=(\d+)/,
  hiddenSize: /\bhidden=(\d+)/,
  topK: /\bnum_topk=(\d+)/,
  experts: /\bnum_experts=(\d+)/,
};

/**
 * Reads what DeepEP's tests print: the best times of normal mode, or the low-latency ones, whose mean over the
 * ranks is taken. The device is never printed, and most of the shape only by some versions: options say it.
 * @throws MeasurementError
 */
export function importDeepepLog(text: string, options: ImportOptions): Measurements {
  const { file } = options;
  let shape: Shape = {};
  const rows: TokenExchangeRow[] = [];
  const perRank: { dispatch: number; combine: number }[] = [];

  for (const { number, line } of logLines(text)) {
    const refuse = (found: string, allowed: string): never => {
      throw new MeasurementError(file, `line ${number}`, found, allowed);
    };
    if (line.includes('[config]') && line.includes('num_tokens=')) shape = shapeOf(line);
    const best = BEST.exec(line);
    if (best !== null) {
      const [, direction, dtype = 'BF16', sms, rest] = best;
      rows.push({
        op: 'token-exchange',
        kernel: `DeepEP ${dtype}`,
        mode: 'normal',
        direction: direction as TokenExchangeRow['direction'],
        ...placeOf(/RDMA chunk [1-9]/.test(rest), options),
        ...wholeShape(shape, options),
        sms: Number(sms),
        seconds: timeOf(rest, refuse) / 1e6,
        spread: null,
        repeats: null,
      });
    }
    const low = LOW_LATENCY.exec(line);
    if (low !== null) {
      const [, , dispatch, combine] = low;
      perRank.push({
        dispatch: positive(dispatch, refuse) / 1e6,
        combine: positive(combine, refuse) / 1e6,
      });
    }
  }
  if (rows.length > 0 && perRank.length > 0) {
    // The check of compatibility at the end of a test of normal mode: its shape is another, and not printed.
    options.onNote?.(
      `${perRank.length} lines of low-latency times left out: beside normal mode their shape is unknown`,
    );
  } else if (perRank.length > 0) {
    rows.push(...lowLatencyRows(perRank, options));
  }
  severalRows(rows, file);
  return {
    schema: 'epsim/measurements@1',
    source: { name: 'DeepEP tests', version: 'unknown', licence: 'own' },
    device: { name: said(options, 'device', undefined), kind: 'gpu' },
    software: {},
    rows: averageRepeats(rows),
  };
}

function lowLatencyRows(
  perRank: readonly { dispatch: number; combine: number }[],
  options: ImportOptions,
): TokenExchangeRow[] {
  return (['dispatch', 'combine'] as const).map((direction) => ({
    op: 'token-exchange',
    kernel: direction === 'dispatch' ? 'DeepEP FP8' : 'DeepEP BF16',
    mode: 'low-latency',
    direction,
    nodes: said(options, 'nodes', undefined),
    gpusPerNode: said(options, 'gpusPerNode', undefined),
    ...wholeShape({}, options),
    sms: null,
    seconds: mean(perRank, (times) => times[direction])!,
    spread: null,
    repeats: null,
  }));
}

function shapeOf(line: string): Shape {
  const shape: Shape = {};
  for (const key of Object.keys(CONFIG) as (keyof Shape)[]) {
    const [, value] = CONFIG[key].exec(line) ?? [];
    if (value !== undefined) shape[key] = Number(value);
  }
  return shape;
}

function wholeShape(shape: Shape, options: ImportOptions): Required<Shape> {
  return {
    hiddenSize: said(options, 'hiddenSize', shape.hiddenSize),
    tokensPerGpu: said(options, 'tokensPerGpu', shape.tokensPerGpu),
    topK: said(options, 'topK', shape.topK),
    experts: said(options, 'experts', shape.experts),
  };
}

function placeOf(
  acrossNodes: boolean,
  options: ImportOptions,
): Pick<TokenExchangeRow, 'nodes' | 'gpusPerNode'> {
  return {
    nodes: said(options, 'nodes', acrossNodes ? undefined : 1),
    gpusPerNode: said(options, 'gpusPerNode', acrossNodes ? GPUS_PER_NODE_ACROSS : undefined),
  };
}

function timeOf(rest: string, refuse: (found: string, allowed: string) => never): number {
  for (const pattern of TIMES) {
    const [, ...parts] = pattern.exec(rest) ?? [];
    if (parts.length === 0) continue;
    const microseconds = parts.map(Number).reduce((sum, part) => sum + part, 0);
    return parts.some((part) => !(Number(part) >= 0)) || microseconds === 0
      ? refuse(parts.join(' + '), 'a time above 0 µs')
      : microseconds;
  }
  return refuse(
    `no time in '${rest.trim()}'`,
    "a version of DeepEP's tests that prints one, such as '… 35 + 440 us, …' or '… t: 453.49 us'",
  );
}

function positive(text: string, refuse: (found: string, allowed: string) => never): number {
  const value = Number(text);
  return value > 0 && Number.isFinite(value) ? value : refuse(`avg_t=${text}`, 'a time above 0 µs');
}
