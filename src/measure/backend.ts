import type { Case, Measurements, Timed } from '../calibration/index.js';

/** How long to time each case. */
export interface Effort {
  /** Timed calls whose median counts. */
  repeats: number;
  /** Calls before them. */
  warmup: number;
  /** Length of the long run that settles clocks and power; 0: none. */
  longRunSeconds: number;
}

/** A device that is ready to be timed. */
export interface OpenDevice {
  device: Measurements['device'];
  /** Versions of drivers and libraries. */
  software: Measurements['software'];
  /** Why this device cannot time a case (an fp8 product where it has none); null if it can. */
  refusal(wanted: Case): string | null;
  /** @throws CaseRefused if it turns out that the device cannot time the case, BackendError if it fails */
  time(wanted: Case, effort: Effort): Promise<Timed>;
  close(): Promise<void>;
}

/** Something that times kernels. Rivals are siblings in this folder. */
export interface Backend {
  name: 'torch' | 'webgpu';
  /** @throws BackendError that says what to install where there is nothing to measure with */
  open(): Promise<OpenDevice>;
}

/** A backend that is missing or fails; the message says what to do. */
export class BackendError extends Error {
  override name = 'BackendError';
}

/** A case that turned out to be beyond the device (its memory); the message says why. Others may still work. */
export class CaseRefused extends BackendError {
  override name = 'CaseRefused';
}
