import type { Settings } from './settings.js';
import type { NumbersHtml } from './simulate-settings.js';

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
  | { kind: 'numbers'; id: number; numbers: NumbersHtml; milliseconds: number; result: string }
  /** One picture of `of`, in their order, so that the page shows one while the next is drawn. */
  | { kind: 'picture'; id: number; index: number; of: number; html: string; milliseconds: number }
  /** A trace that is ready, and the models that it could be of. */
  | { kind: 'trace'; name: string; models: string[] }
  /** A run that can't be: nothing stands for these settings. */
  | { kind: 'refused'; id: number; message: string }
  /** Files that can't be read; the settings and what is shown stay. */
  | { kind: 'unread'; message: string };
