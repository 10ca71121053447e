/**
 * Takes the pictures of README and docs/images anew: node tools/take-pictures.js, after a build. It needs Debian's
 * chromium, or the browser that EPSIM_CHROMIUM names.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'epsim-pictures-'));
const report = join(folder, 'report.html');
const run = ['dist/bin/epsim.js', 'run', 'scenarios/gpt-oss-120b-hot.json', '--report', report];
execFileSync(process.execPath, run, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });

const browser = await chromium.launch({
  executablePath: process.env.EPSIM_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
const page = await browser.newPage({ viewport: { width: 1080, height: 640 } });
const image = (name) => join(root, 'docs/images', `${name}.png`);

await page.goto(pathToFileURL(report).href);
await page.screenshot({ path: image('report') });
await page
  .locator('section[aria-labelledby=gantt] svg')
  .first()
  .screenshot({ path: image('step') });

// The scenario of the report, as far as the playground's controls go.
const settings = 'model=gpt-oss-120b&runtime=llep-reference&tokens=32768&steps=4&amount=0.95';
await page.setViewportSize({ width: 1220, height: 1240 });
await page.goto(`${pathToFileURL(join(root, 'dist/web/index.html')).href}#${settings}`);
await page.waitForFunction('document.body.dataset.state === "drawn"');
// How long it took belongs to the machine that took the picture.
await page.addStyleTag({ content: '#taken { visibility: hidden }' });
await page.screenshot({ path: image('playground') });
await browser.close();
rmSync(folder, { recursive: true });
