import type { Spec, View } from 'vega';
import type { Chart } from './chart.js';

/** The picture of a chart, drawn without a browser. */
export async function chartSvg(chart: Chart): Promise<string> {
  const view = await viewOf(chart);
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}

/**
 * Draws charts whose values change, as while one drags, in a third of the time that `chartSvg` takes: those that differ in
 * nothing but their values are drawn by one view.
 */
export class KeptCharts {
  /** By specification; the one used longest ago first. */
  private readonly views = new Map<string, View>();

  /** @param mostKept views */
  constructor(private readonly mostKept: number) {}

  /** What `chartSvg` gives; one chart at a time. */
  async svg(chart: Chart): Promise<string> {
    const { values, key } = parted(chart);
    if (values === undefined) return chartSvg(chart);
    let view = this.views.get(key);
    this.views.delete(key);
    if (view) {
      // A view marks values as its own, and measures its axes only once where nobody asks for more.
      const own = values.map((value) => ({ ...value }));
      view.data(VALUES, own).resize();
    } else view = await viewOf(chart);
    // One that fails is not kept.
    const svg = await view.toSVG();
    this.views.set(key, view);
    for (const [oldest, unused] of this.views) {
      if (this.views.size <= this.mostKept) break;
      this.views.delete(oldest);
      unused.finalize();
    }
    return `${svg}\n`;
  }
}

async function viewOf(chart: Chart): Promise<View> {
  // Only who draws waits for these to load.
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  return new vega.View(vega.parse(compiled(chart, compile)), { renderer: 'none' });
}

/** Specifications that differ in nothing but their values, compiled once: that takes a third of the time of a picture. */
const known = new Map<string, Spec>();

/** More are not kept; a page has some ten. */
const MOST_KNOWN = 64;

/** The name of a chart's values in its specification. */
const VALUES = 'values';

/** A chart's values, where it has one list of them, and the rest. */
function parted({ data, ...rest }: Chart): { values: object[] | undefined; rest: object; key: string } {
  const { values } = (data ?? {}) as { values?: object[] };
  return { values, rest, key: values === undefined ? '' : JSON.stringify(rest) };
}

function compiled(chart: Chart, compile: typeof import('vega-lite').compile): Spec {
  const { values, rest, key } = parted(chart);
  if (values === undefined) return compile(chart as never).spec;
  let spec = known.get(key);
  if (spec === undefined) {
    spec = compile({ ...rest, data: { name: VALUES } } as never).spec;
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(key, spec);
  }
  return {
    ...spec,
    data: spec.data!.map((source) => (source.name === VALUES ? { ...source, values } : source)),
  };
}
