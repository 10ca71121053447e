import type { Chart } from './chart.js';

/** The picture of a chart, drawn without a browser. */
export async function chartSvg(chart: Chart): Promise<string> {
  // Only who draws waits for these to load.
  const [{ View, parse }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const view = new View(parse(compile(chart as never).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
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
