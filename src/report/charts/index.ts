import { heatMap } from './heat-map.js';
import { lines } from './lines.js';
import { pareto } from './pareto.js';

/** All kinds of charts, in the order in which they are listed. */
export const chartKinds = [lines, heatMap, pareto] as const;
