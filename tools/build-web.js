/** Bundles the playground into one page, dist/web/index.html, that needs nothing else. */
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const { version } = JSON.parse(read('package.json'));

/** A program of src/web for browsers, as text that may stand inside a page. */
async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [new URL(`../src/web/${entry}`, import.meta.url).pathname],
    bundle: true,
    write: false,
    minify: true,
    format: 'iife',
    platform: 'browser',
    target: 'es2022',
    legalComments: 'inline',
    define: { EPSIM_VERSION: JSON.stringify(version) },
    // What a browser has no use for: streams of Node, and colours that no table asks for.
    external: ['@colors/colors/safe'],
    alias: { 'csv-stringify/sync': 'csv-stringify/browser/esm/sync' },
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false, verbatimModuleSyntax: true } },
  });
  return outputFiles[0].text.replaceAll('</script', '<\\/script');
}

const [worker, page] = await Promise.all(['worker.ts', 'page.ts'].map(bundle));
const { PAGE_STYLE } = await import('../dist/report/page/style.js');
const hash = `'sha256-${createHash('sha256').update(page).digest('base64')}'`;
const html = read('src/web/index.html')
  .replace('HASH', () => hash)
  .replace('/*STYLE*/', () => PAGE_STYLE)
  .replace(
    '<!--PROGRAMS-->',
    () => `<script type="text/plain" id="worker">${worker}</script>\n<script>${page}</script>`,
  );
mkdirSync(new URL('../dist/web/', import.meta.url), { recursive: true });
writeFileSync(new URL('../dist/web/index.html', import.meta.url), html);
