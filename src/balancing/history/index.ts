import type { z } from 'zod';
import { calibration } from './calibration.js';
import { decay } from './decay.js';
import { oracle } from './oracle.js';
import { predicted } from './predicted.js';
import { window } from './window.js';

/** All kinds of history, in the order in which they are listed. To add one, add its file here. */
export const historyRules = [calibration, window, decay, predicted, oracle] as const;

export type HistoryOptions = z.output<(typeof historyRules)[number]['options']>;
