import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { chartKinds, chartPage, groupRows, type TableRow } from '../../src/report/index.js';
import { workFolder } from '../cli/epsim.js';
import { keepPicture, noBrowser, useBrowser } from './browser.js';

/** A front of seven choices, two of them inexact. */
const rows: TableRow[] = [
  ['ep', 1, 30, 9.4],
  ['llep', 1, 20, 7.5],
  ['llep', 1.25, 21, 7.3],
  ['llep', 1.5, 23, 7.9],
  ['llep', 2, 27, 8.4],
  ['capacity', 1, 12, 7],
  ['capacity', 2, 15, 8],
].map(([policy_kind, alpha, milliseconds, gib]) => ({
  alpha,
  policy_kind,
  policy_index: ['ep', 'llep', 'capacity'].indexOf(String(policy_kind)),
  step_mean_s: Number(milliseconds) / 1e3,
  peak_memory_bytes: Number(gib) * 2 ** 30,
  exact: policy_kind !== 'capacity',
}));

describe.skipIf(noBrowser)('the page of a plot in Chromium', () => {
  const open = useBrowser();
  const folder = workFolder();

  it.each([
    [360, true],
    [1200, false],
  ])('fits a window of %i pixels, dark: %s, without a fault', async (width, dark) => {
    const columns = Object.keys(rows[0]);
    const groups = groupRows(
      rows,
      { swept: ['alpha'], shown: ['alpha'], needed: [], columns, where: {} },
      'table',
    );
    const drawn = chartKinds
      .find(({ kind }) => kind === 'pareto')!
      .draw(groups, {
        title: 'alpha and capacity',
        subtitle: 'batch = 8192',
        x: 'step_mean_s',
        y: 'peak_memory_bytes',
        value: 'speedup',
        log: false,
      });
    const path = join(folder, `front-${width}.html`);
    writeFileSync(path, await chartPage(drawn));
    const { page, faults } = await open(pathToFileURL(path).href, { width, dark });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    expect(await page.locator('h1').textContent()).toBe('alpha and capacity');
    expect(await page.locator('svg[role=img] > title').count()).toBe(1);
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(ground).toBe(dark ? 'rgb(22, 24, 27)' : 'rgb(255, 255, 255)');
    await keepPicture(page, `front-${width}`);
    expect(faults).toEqual([]);
    await page.close();
  });
});
