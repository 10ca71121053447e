import type { Spec } from 'vega';
import type { Chart } from './chart.js';

/** The picture of a chart, drawn without a browser. */
export async function chartSvg(chart: Chart): Promise<string> {
  // Only who draws waits for these to load.
  const [{ View, parse }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const view = new View(parse(compiled(chart, compile)), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}

/** Specifications that differ in nothing but their values, compiled once: that takes a third of the time of a picture. */
const known = new Map<string, Spec>();

/** More are not kept; a page has some ten. */
const MOST_KNOWN = 64;

/** The name of a chart's values in its specification. */
const VALUES = 'values';

function compiled({ data, ...rest }: Chart, compile: typeof import('vega-lite').compile): Spec {
  const values = (data as { values?: object[] } | undefined)?.values;
  if (values === undefined) return compile({ data, ...rest } as never).spec;
  const key = JSON.stringify(rest);
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
