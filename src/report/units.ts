/** 0.01234 → "12.34 ms"; three to four significant digits. */
export function formatSeconds(seconds: number): string {
  if (seconds >= 1) return `${digits(seconds)} s`;
  if (seconds >= 1e-3) return `${digits(seconds * 1e3)} ms`;
  return `${digits(seconds * 1e6)} µs`;
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
