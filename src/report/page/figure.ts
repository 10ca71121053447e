import type { Chart } from '../charts/chart.js';

/** A picture with what it says in words and numbers. */
export interface Figure {
  /** For links to it. */
  id: string;
  title: string;
  /** How to read it, and how its numbers came about. */
  text: string;
  /** Without frame: `framed` gives all pictures of a page theirs. */
  charts: Chart[];
  table: { head: string[]; rows: string[][] };
}

/** Width of every picture's plot, in pixels. */
export const PLOT_WIDTH = 640;

/** Longest name beside a plot, in pixels; `headings` are not longer. */
const NAME_WIDTH = 320;

/**
 * A chart in the frame of a page: text and lines take the page's colour, so that it can be read on a light and on a
 * dark ground and on paper.
 */
export function framed(chart: Chart): Chart {
  const ink = 'currentColor';
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    background: null,
    padding: 4,
    ...chart,
    config: {
      // The page describes a picture in words, and its numbers in a table.
      aria: false,
      font: 'Helvetica, Arial, sans-serif',
      axis: {
        labelColor: ink,
        titleColor: ink,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 'normal',
        titlePadding: 8,
        labelLimit: NAME_WIDTH,
        domainColor: ink,
        domainOpacity: 0.4,
        tickColor: ink,
        tickOpacity: 0.4,
        gridColor: ink,
        gridOpacity: 0.12,
        labelOverlap: 'greedy',
        labelSeparation: 4,
        labelFlush: false,
        labelPadding: 5,
      },
      axisX: { tickCount: 8 },
      legend: {
        labelColor: ink,
        titleColor: ink,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 'normal',
        labelLimit: 300,
        symbolOpacity: 1,
        orient: 'top',
        direction: 'horizontal',
        columns: 4,
        gradientLength: 240,
        titleLimit: 500,
      },
      header: {
        labelColor: ink,
        labelFontSize: 13,
        labelFontWeight: 'bold',
        labelLimit: PLOT_WIDTH,
        title: null,
      },
      title: { color: ink, fontSize: 12, fontWeight: 'normal', anchor: 'start' },
      text: { color: ink, fontSize: 11 },
      rule: { color: ink },
      view: { stroke: null },
      facet: { spacing: 14 },
    },
  };
}

/** A plot for each policy, one above the other, in the order of `place`, with its name above it at the left. */
export const BY_POLICY = {
  row: {
    field: 'policy',
    type: 'nominal',
    sort: { field: 'place', op: 'min' },
    header: { title: null, labelOrient: 'top', labelAngle: 0, labelAnchor: 'start', labelPadding: 4 },
  },
};
