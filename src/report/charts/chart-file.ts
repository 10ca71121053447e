import { framed } from '../page/figure.js';
import { htmlDocument } from '../page/document.js';
import { escaped, htmlTable } from '../page/html.js';
import type { Chart } from './chart.js';
import { chartSvg } from './render.js';

/** A chart's words: its title, and the lines below it. */
function wordsOf({ title }: Chart): { title: string; notes: string[] } {
  const { text, subtitle } = title as { text: string | string[]; subtitle: string | string[] };
  return { title: [text].flat().join(' '), notes: [subtitle].flat().filter(Boolean) };
}

/** The picture as a file of its own, which tells a screen reader what it is. */
export async function chartPicture(chart: Chart): Promise<string> {
  const { title, notes } = wordsOf(chart);
  return named(await chartSvg(chart), [title, ...notes].join('. '));
}

/**
 * A page with the picture and the numbers that it is drawn from, in the style of a run's report: no scripts, no
 * requests, in the reader's light or dark.
 */
export async function chartPage(chart: Chart): Promise<string> {
  const { title, notes } = wordsOf(chart);
  const { values } = chart.data as { values: Record<string, string | number | boolean | null>[] };
  const { title: _, config: __, background: ___, padding: ____, ...plot } = chart;
  const columns = Object.keys(values[0] ?? {});
  const rows = values.map((row) => columns.map((column) => String(row[column] ?? '')));
  const svg = named((await chartSvg(framed(plot))).trim(), `${title}; its numbers follow in a table`);
  return htmlDocument(
    title,
    `<main>
<h1>${escaped(title)}</h1>
<figure>
<figcaption>${notes.map((note) => escaped(note)).join('<br>')}</figcaption>
<div class="scroll" role="group" tabindex="0" aria-label="${escaped(title)}">${svg}</div>
</figure>
<section aria-labelledby="numbers">
<h2 id="numbers">The numbers</h2>
<details><summary>${values.length} points</summary>
${htmlTable(title, columns, rows)}
</details>
</section>
</main>`,
  );
}

function named(svg: string, name: string): string {
  return svg.replace(/<svg [^>]*>/, (tag) => {
    const labelled = tag.replace('<svg ', `<svg role="img" aria-label="${escaped(name)}" `);
    return `${labelled}<title>${escaped(name)}</title>`;
  });
}
