import type { Settings } from './settings.js';

/** A file that was dropped. */
export interface DroppedFile {
  name: string;
  bytes: ArrayBuffer;
}

/** What the page asks the worker. */
export type Request =
  { kind: 'run'; id: number; settings: Settings } | { kind: 'trace'; files: DroppedFile[] };

/** What the worker answers. HTML is made by the report, with everything in it escaped. */
export type Reply =
  | { kind: 'numbers'; id: number; html: string; milliseconds: number; result: string }
  | { kind: 'pictures'; id: number; html: string; milliseconds: number }
  | { kind: 'trace'; name: string; model: string | null }
  | { kind: 'fault'; id: number | null; message: string };
