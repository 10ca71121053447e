import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { reportPage } from '../../src/report/index.js';
import { root, workFolder } from '../cli/epsim.js';
import { record, type Recorded } from '../report/record.js';
import { keepPicture, noBrowser, useBrowser } from './browser.js';

describe.skipIf(noBrowser)('the report in Chromium', () => {
  const open = useBrowser();
  const folder = workFolder();
  let hot: Recorded;
  let url: string;

  const write = async (name: string, { result, recording }: Pick<Recorded, 'result' | 'recording'>) => {
    const path = join(folder, name);
    writeFileSync(path, await reportPage(result, recording));
    return pathToFileURL(path).href;
  };

  beforeAll(async () => {
    const file = join(root, 'scenarios/gpt-oss-120b-hot.json');
    hot = await record(JSON.parse(readFileSync(file, 'utf8')), { file });
    url = await write('hot.html', hot);
  });

  it('opens without a fault, light and dark, and keeps a picture', async () => {
    for (const dark of [false, true]) {
      const { page, faults } = await open(url, { dark });
      expect(await page.title()).toContain('gpt-oss-120b');
      expect(await page.locator('.verdict').textContent()).toMatch(/^Use llep: 6\.\d\d× as fast as ep/);
      expect(await page.locator('figure svg[role=img]').count()).toBeGreaterThan(8);
      await keepPicture(page, `report-${dark ? 'dark' : 'light'}`);
      expect(faults).toEqual([]);
      await page.close();
    }
  });

  it.each([1200, 420])(
    'labels do not overlap in a window of %i pixels, nor leave their picture',
    async (width) => {
      const { page } = await open(url, { width });
      const clashes = await page.evaluate(() => {
        const found: string[] = [];
        for (const svg of document.querySelectorAll('figure svg')) {
          const frame = svg.getBoundingClientRect();
          const texts = [...svg.querySelectorAll('text')]
            .filter((text) => text.textContent !== '' && Number(getComputedStyle(text).opacity) > 0)
            .map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
          texts.forEach(({ text, box }, i) => {
            if (box.left < frame.left - 1 || box.right > frame.right + 1)
              found.push(`${text} leaves its picture`);
            for (const other of texts.slice(i + 1)) {
              const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
              const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
              // Boxes of lines include the space above and below letters.
              if (across > 1 && down > 0.4 * box.height) found.push(`${text} covers ${other.text}`);
            }
          });
        }
        return found;
      });
      expect(clashes).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await page.close();
    },
  );

  it('is used by keyboard: skips to the result, opens the numbers of a picture', async () => {
    const { page, faults } = await open(url);
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement!.textContent)).toBe('Skip to the result');
    await page.keyboard.press('Enter');
    expect(await page.evaluate(() => document.activeElement!.id)).toBe('verdict');
    const details = page.locator('section[aria-labelledby=gantt] details');
    expect(await details.locator('td').first().isVisible()).toBe(false);
    await details.locator('summary').focus();
    await page.keyboard.press('Enter');
    expect(await details.locator('td').first().isVisible()).toBe(true);
    expect(faults).toEqual([]);
    await page.close();
  });

  it('has a name for every picture, heading order, and text that can be read on its ground', async () => {
    for (const dark of [false, true]) {
      const { page } = await open(url, { dark });
      const pictures = page.locator('figure svg');
      for (const picture of await pictures.all())
        expect(await picture.getAttribute('aria-label')).toMatch(/\w{3}/);
      const levels = await page.evaluate(() =>
        [...document.querySelectorAll('h1, h2, h3')].map(({ tagName }) => tagName),
      );
      expect(levels[0]).toBe('H1');
      expect(new Set(levels.slice(1))).toEqual(new Set(['H2']));
      const worst = await page.evaluate(() => {
        const light = (colour: string) => {
          const [r, g, b] = /(\d+), (\d+), (\d+)/
            .exec(colour)!
            .slice(1)
            .map((part) => {
              const share = Number(part) / 255;
              return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = light(getComputedStyle(document.body).backgroundColor);
        const contrasts = [
          ...document.querySelectorAll('p, th, td, a, h1, figcaption, summary, svg text'),
        ].map((element) => {
          const style = getComputedStyle(element);
          const ink = light(element instanceof SVGElement ? style.fill : style.color);
          return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
        });
        return Math.min(...contrasts);
      });
      // WCAG 2.1, 1.4.3
      expect(worst).toBeGreaterThan(4.5);
      await page.close();
    }
  });

  it('runs nothing of hostile names', async () => {
    const evil = `</title></svg></style><script>alert(1)</script><img src=x onerror="alert(2)"><svg onload=alert(3)>`;
    const result = structuredClone(hot.result);
    const recording = structuredClone(hot.recording);
    result.scenario.name = evil;
    result.model = evil;
    result.routing.notes.push(evil);
    Object.assign(result.policies[1].policy, { [evil]: evil });
    for (const { slices } of recording.policies[0].steps[0].layers) {
      for (const slice of slices) slice.stream += evil;
    }
    const { page, faults } = await open(await write('evil.html', { result, recording }));
    await page.waitForTimeout(200);
    expect(await page.locator('script, img').count()).toBe(0);
    expect(await page.locator('h1').textContent()).toBe(evil);
    expect(faults).toEqual([]);
    await page.close();
  });

  it('prints: dark ink on white, without the links, tables not cut', async () => {
    const { page } = await open(url, { dark: true });
    await page.emulateMedia({ media: 'print' });
    const [ink, ground, nav] = await page.evaluate(() => [
      getComputedStyle(document.body).color,
      getComputedStyle(document.body).backgroundColor,
      getComputedStyle(document.querySelector('nav')!).display,
    ]);
    expect([ink, ground, nav]).toEqual(['rgb(0, 0, 0)', 'rgb(255, 255, 255)', 'none']);
    expect((await page.pdf()).length).toBeGreaterThan(20_000);
    await page.close();
  });
});
