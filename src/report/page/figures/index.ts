import type { Figure } from '../figure.js';
import type { PageData } from '../page-data.js';
import { distributionFigure } from './distribution.js';
import { ganttFigure } from './gantt.js';
import { latencyFigure } from './latency.js';
import { layersFigure, loadsFigure } from './loads.js';
import { memoryFigure } from './memory.js';
import { timeFigure } from './time.js';
import { trafficFigure } from './traffic.js';
import { uncertaintyFigure } from './uncertainty.js';

/** All pictures that a result, and what was seen of its run, can give, in the order of a page. */
export function figuresOf(data: PageData): Figure[] {
  const { recording } = data;
  const seen = recording === null ? null : { recording };
  return [
    latencyFigure(data),
    timeFigure(data),
    seen && ganttFigure(data, seen.recording),
    seen && loadsFigure(data, seen.recording),
    seen && layersFigure(data, seen.recording),
    seen && trafficFigure(data, seen.recording),
    seen && memoryFigure(data, seen.recording),
    seen && distributionFigure(data, seen.recording),
    uncertaintyFigure(data),
  ].filter((figure) => figure !== null);
}
