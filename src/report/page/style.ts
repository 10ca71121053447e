/** How a page looks: on a light and a dark ground, on paper, and in a narrow window. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1a1a1a; --soft: #595959; --line: #d0d0d0; --accent: #005a96; --pale: #f3f6f9; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181b; --ink: #e8e8e8; --soft: #b0b0b0; --line: #44484d; --accent: #7cc4ff; --pale: #1f2328; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 1.5rem; font: 16px/1.5 Helvetica, Arial, sans-serif; color: var(--ink); background: var(--ground); }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.4rem; }
p, li, figcaption { max-width: 54rem; }
p { margin: 0.4rem 0; overflow-wrap: anywhere; }
a { color: var(--accent); }
.skip { position: absolute; left: -100vw; }
.skip:focus { position: static; }
.setting, .how, figcaption { color: var(--soft); }
.verdict { font-size: 1.15rem; border-left: 4px solid var(--accent); background: var(--pale); padding: 0.7rem 1rem; margin: 1rem 0; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; list-style: none; padding: 0; margin: 0.5rem 0; font-size: 0.9rem; }
figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; color: var(--ink); margin: 0.6rem 0; }
@media screen and (max-width: 45rem) { figure svg { max-width: none; } }
figure svg .mark-rect path { shape-rendering: crispEdges; }
.scroll { overflow-x: auto; margin: 0.6rem 0; background: linear-gradient(to right, var(--ground) 40%, transparent), linear-gradient(to left, var(--ground) 40%, transparent) right, linear-gradient(to right, #8888, transparent), linear-gradient(to left, #8888, transparent) right; background-repeat: no-repeat; background-size: 2rem 100%, 2rem 100%, 0.6rem 100%, 0.6rem 100%; background-attachment: local, local, scroll, scroll; }
table { border-collapse: collapse; font-size: 0.8rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding: 0.3rem 0; }
th, td { padding: 0.25rem 0.5rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: normal; color: var(--soft); }
tbody th { text-align: left; color: var(--ink); min-width: 9rem; max-width: 24rem; white-space: normal; overflow-wrap: anywhere; }
thead th:first-child { text-align: left; }
summary { cursor: pointer; color: var(--accent); font-size: 0.9rem; padding: 0.2rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
pre { overflow-x: auto; background: var(--pale); padding: 0.8rem; font-size: 0.8rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1rem; margin: 0.5rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; }
@media print {
  :root { --ground: #ffffff; --ink: #000000; --soft: #333333; --line: #999999; --accent: #000000; --pale: #ffffff; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  nav, .skip { display: none; }
  svg, tr { break-inside: avoid; }
  figcaption { break-after: avoid; }
  details:not(.long)::details-content { content-visibility: visible; height: auto; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: 0.1rem 0.3rem; white-space: normal; }
}`;
