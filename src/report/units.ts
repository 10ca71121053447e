/** 0.01234 → "12.34 ms"; three to four significant digits. */
export function formatSeconds(seconds: number): string {
  const [unit, factor] = unitOf(seconds);
  return `${digits(seconds * factor)} ${unit}`;
}

/** 0.01234 in [0.0113, 0.0141] → "12.34 [11.30, 14.10] ms". */
export function formatSecondsRange(seconds: number, low: number, high: number): string {
  const [unit, factor] = unitOf(seconds);
  const [shown, from, to] = [seconds, low, high].map((value) => digits(value * factor));
  return from === to ? `${shown} ${unit}` : `${shown} [${from}, ${to}] ${unit}`;
}

function unitOf(seconds: number): [string, number] {
  if (seconds >= 1) return ['s', 1];
  return seconds >= 1e-3 ? ['ms', 1e3] : ['µs', 1e6];
}

/** 65.8e9 → "61.28 GiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (Math.abs(bytes) >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? String(bytes) : digits(bytes)} ${units[unit]}`;
}

/** 1.9297 → "1.93×". */
export function formatFactor(factor: number): string {
  return `${digits(factor)}×`;
}

/** 0.9402 → "94.0 %". */
export function formatShare(share: number): string {
  return `${(100 * share).toFixed(share !== 0 && Math.abs(share) < 0.001 ? 3 : 1)} %`;
}

function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : 2);
}
