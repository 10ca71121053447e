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

/** A page with the picture and the numbers that it is drawn from, without scripts. */
export async function chartPage(chart: Chart): Promise<string> {
  const { text: title } = chart.title as { text: string };
  const { values } = chart.data as { values: Record<string, string | number | boolean | null>[] };
  const columns = Object.keys(values[0] ?? {});
  const cells = (tag: string, texts: (string | number | boolean | null)[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(String(text ?? ''))}</${tag}>`).join('')}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escaped(title)}</title>
<style>
body { font: 14px Helvetica, Arial, sans-serif; margin: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #ddd; }
</style>
${await chartSvg(chart)}<details><summary>The numbers</summary>
<table>
${[
  cells('th', columns),
  ...values.map((row) =>
    cells(
      'td',
      columns.map((column) => row[column]),
    ),
  ),
].join('\n')}
</table>
</details>
</html>
`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
