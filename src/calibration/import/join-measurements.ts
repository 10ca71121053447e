import { MeasurementError } from '../measurement-error.js';
import type { Measurements } from '../measurements.js';

/**
 * One set of measurements of several of the same device and source.
 * @param parts at least one, each with the file that it came from
 * @throws MeasurementError where devices or sources differ
 */
export function joinMeasurements(
  parts: readonly { file: string; measurements: Measurements }[],
): Measurements {
  const [first, ...others] = parts;
  const software: Record<string, string> = { ...first.measurements.software };
  for (const { file, measurements } of others) {
    for (const part of ['device', 'source'] as const) {
      const [ours, theirs] = [first.measurements[part], measurements[part]].map(text);
      if (ours === theirs) continue;
      throw new MeasurementError(
        file,
        part,
        theirs,
        `${ours}, as in ${first.file}; import files of another ${part} separately`,
      );
    }
    for (const [name, version] of Object.entries(measurements.software)) {
      const versions = new Set([...(software[name]?.split(', ') ?? []), ...version.split(', ')]);
      software[name] = [...versions].join(', ');
    }
  }
  return { ...first.measurements, software, rows: parts.flatMap(({ measurements }) => measurements.rows) };
}

function text(part: Measurements['device'] | Measurements['source']): string {
  return 'kind' in part ? `${part.name} (${part.kind})` : `${part.name} ${part.version}`;
}
