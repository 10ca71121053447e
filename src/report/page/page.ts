import type { Recording, Result } from '../../simulation/index.js';
import { settingLines, steppedThing } from '../cells.js';
import { chartSvg } from '../charts/render.js';
import { faultTables } from '../faults.js';
import { comparisonTables, legendLines } from '../table.js';
import { trainingTables } from '../training.js';
import { verdict } from '../verdict.js';
import { servingTables } from '../whole-model.js';
import { framed, type Figure } from './figure.js';
import { figuresOf } from './figures/index.js';
import { htmlDocument } from './document.js';
import { escaped, htmlTable } from './html.js';
import { pageData, type PageData } from './page-data.js';

/** Closed tables with more rows are not printed. */
const MOST_PRINTED = 24;

/** Tables with more rows end here; a page with a hundred thousand bars in it opens slowly. */
const MOST_ROWS = 500;

/**
 * A result as one HTML file that needs nothing else: no scripts, no fonts, no network. Its policy (CSP) forbids
 * browsers to run any, whatever names a scenario or a trace brings.
 * @param recording what was seen of the run; null leaves out what only it can show
 */
export async function reportPage(result: Result, recording: Recording | null): Promise<string> {
  const data = pageData(result, recording);
  const figures = figuresOf(data);
  const name = result.scenario.name ?? 'unnamed scenario';
  const drawn: string[] = [];
  for (const figure of figures) drawn.push(await figureHtml(figure));
  return htmlDocument(
    name,
    `<a class="skip" href="#verdict">Skip to the result</a>
<header>
<h1>${escaped(name)}</h1>
${settingLines(result)
  .map((line) => `<p class="setting">${escaped(line)}</p>`)
  .join('\n')}
<nav aria-label="Sections"><ul>
${[
  ...figures,
  { id: 'inputs', title: 'Scenario, profile and versions' },
  { id: 'how', title: 'How the numbers are computed' },
]
  .map(({ id, title }) => `<li><a href="#${id}">${escaped(title)}</a></li>`)
  .join('\n')}
</ul></nav>
</header>
<main>
<section id="verdict" aria-label="Verdict" tabindex="-1">
<p class="verdict">${escaped(verdict(result))}</p>
${[...comparisonTables(result), ...servingTables(result), ...trainingTables(result), ...faultTables(result)]
  .map(({ title, head, rows }) => htmlTable(title, ['policy', ...head.slice(1)], rows))
  .join('\n')}
<details><summary>What the columns mean, and how sure they are</summary>
${legendLines(result)
  .map((line) => `<p class="how">${escaped(line)}</p>`)
  .join('\n')}
</details>
${notes(result)}
</section>
${drawn.join('\n')}
${whyNotShown(data)}
${inputs(result)}
${how(result)}
</main>`,
    result.version,
  );
}

/**
 * A figure with its pictures, its words, and its numbers behind it.
 * @param mostRows of the table; the rest is left out, and said to be
 * @param svgOf draws a chart
 */
export async function figureHtml(
  { id, title, text, charts, table }: Figure,
  mostRows = MOST_ROWS,
  svgOf = chartSvg,
): Promise<string> {
  const pictures: string[] = [];
  for (const chart of charts) pictures.push(pictureOf(chart, await svgOf(framed(chart)), title));
  const rows = table.rows.slice(0, mostRows);
  const rest = table.rows.length - rows.length;
  return `<section aria-labelledby="${id}">
<figure>
<h2 id="${id}">${escaped(title)}</h2>
<figcaption>${escaped(text)}</figcaption>
${pictures.join('\n')}
<details${rows.length > MOST_PRINTED ? ' class="long"' : ''}><summary>The numbers: ${escaped(title)}</summary>
${htmlTable(title, table.head, rows)}
${rest > 0 ? `<p class="how">${rest} further rows are left out; a timeline (epsim run --timeline) has them all.</p>` : ''}
</details>
</figure>
</section>`;
}

/** A chart as SVG that a screen reader takes for one picture. */
function pictureOf(chart: Figure['charts'][number], svg: string, title: string): string {
  const part = escaped(typeof chart.title === 'string' ? `${title}: ${chart.title}` : title);
  const picture = svg
    .trim()
    .replace('<svg ', `<svg role="img" aria-label="${part}; its numbers follow in a table" `);
  return `<div class="scroll" role="group" tabindex="0" aria-label="${part}">${picture}</div>`;
}

function notes({ routing }: Result): string {
  if (routing.notes.length === 0) return '';
  return `<ul class="how">\n${routing.notes.map((note) => `<li>${escaped(note)}</li>`).join('\n')}\n</ul>`;
}

/** What a reader would look for and does not find. */
function whyNotShown({ result, recording }: PageData): string {
  const reasons = [
    ...(result.faults?.length
      ? [
          'Pictures are of steps before the first fault: what a fault leaves stands in the tables above, a table for each.',
        ]
      : []),
    ...(result.offload
      ? [
          'Pictures show the policies with all experts in the GPUs’ memory; where experts lie in host memory, only the table above says what steps take.',
        ]
      : []),
    ...(result.policies.some(({ training }) => training !== null)
      ? ['Of a training no step is recorded: its passes and its peak stand in the tables above.']
      : []),
  ];
  if (recording === null && reasons.length === 0) {
    reasons.push(
      'No recording of a step is kept beside this result, so that there is no picture of a step, of loads by GPU, of traffic and of memory over time. epsim run --out and epsim run --report record one.',
    );
  }
  if (reasons.length === 0) return '';
  return `<section><h2>What is not shown</h2>\n${reasons.map((reason) => `<p>${escaped(reason)}</p>`).join('\n')}</section>`;
}

function inputs({ version, inputs: hash, profile, runtime, cluster, scenario }: Result): string {
  const terms = [
    ['epsim', version],
    ['hash of all inputs', hash],
    ['profile', `${profile.name} (${profile.status})`],
    ['runtime', runtime],
    ['network', cluster.fabric],
  ];
  return `<section aria-labelledby="inputs"><h2 id="inputs">Scenario, profile and versions</h2>
<dl>${terms.map(([term, value]) => `<dt>${term}</dt><dd>${escaped(value)}</dd>`).join('')}</dl>
<details><summary>The scenario as it was run</summary>
<pre tabindex="0">${escaped(JSON.stringify(scenario, null, 2))}</pre>
</details></section>`;
}

function how(result: Result): string {
  const isWhole = result.scenario.scope === 'model';
  return `<section aria-labelledby="how"><h2 id="how">How the numbers are computed</h2>
<ul>
<li>Every policy sees the same batches. What it plans becomes tasks on streams; a task starts when what it waits for has ended. The latency of a step is that of ${steppedThing(result)}; the mean is over all steps that count.</li>
<li>Expert kernels follow a form with numbers fitted to measurements where the profile says so; exchanges take their busiest port's time, or every message its fair share of its links.</li>
<li>Intervals hold 90 %: errors of the clock, and how the steps scatter, in quadrature. Speed-ups have the interval of the pair.</li>
<li>Memory is what tasks allocate and free, and what is resident, of ${isWhole ? 'the whole model with its KV cache' : 'one MoE layer'}; a peak is the most that one GPU had in use at one moment.</li>
<li>γ is the load of the fullest GPU over the mean. The bound is the least time that the work could take on this cluster.</li>
<li>Exact policies compute every copy as routed. Inexact ones drop copies or compute them at lower precision; nothing here says what that does to the model's quality.</li>
</ul>
<p>Formulas and sources: docs/model.md, docs/validation.md and docs/architecture.md of epsim.</p></section>`;
}
