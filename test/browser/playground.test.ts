import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import type { Result } from '../../src/simulation/index.js';
import { epsim, main, root, workFolder } from '../cli/epsim.js';
import { keepPicture, noBrowser, useBrowser } from './browser.js';

const address = pathToFileURL(join(root, 'dist/web/index.html')).href;

/** Waits until the page shows what its settings ask for. */
async function drawn(page: Page): Promise<void> {
  await page.waitForFunction(() => document.body.dataset.state === 'drawn', null, { timeout: 60_000 });
}

/** Presses a button and reads what it saves. */
async function saved(page: Page, button: string): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator(button).click()]);
  return readFileSync(await download.path(), 'utf8');
}

/** Numbers of a result, seconds to 12 digits, without what says where it was run. */
function comparable({ policies, routing, fastest, model, cluster }: Result): unknown {
  const rounded = JSON.stringify({ policies, routing, fastest, model, cluster }, (_, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(12)) : value,
  );
  return JSON.parse(rounded);
}

/** Asks for other settings by the address; returns what the page shows at once. */
function ask(page: Page, settings: string) {
  return page.evaluate(
    (hash) =>
      new Promise<{ state?: string; busy: string | null; canSave: boolean }>((resolve) => {
        // The page's own listener comes first.
        addEventListener(
          'hashchange',
          () =>
            resolve({
              state: document.body.dataset.state,
              busy: document.getElementById('verdict')!.getAttribute('aria-busy'),
              canSave: !(document.getElementById('result') as HTMLButtonElement).disabled,
            }),
          { once: true },
        );
        location.hash = hash;
      }),
    settings,
  );
}

describe.skipIf(noBrowser)('the playground in Chromium', () => {
  const open = useBrowser();
  const folder = workFolder();

  /** Runs a scenario on the command line. */
  const commandLine = (path: string): Result => {
    const { status, stdout, stderr } = epsim(['run', path, '--format', 'json']);
    expect([status, stderr]).toEqual([0, '']);
    return JSON.parse(stdout) as Result;
  };

  it('opens from a disk, draws, and keeps its state in the address', async () => {
    const { page, faults } = await open(address);
    await drawn(page);
    await keepPicture(page, 'playground');
    expect(await page.locator('.verdict').textContent()).toMatch(/\w+/);
    expect(await page.locator('#pictures figure').count()).toBe(3);
    const before = await page.locator('#results').textContent();
    await page.locator('#alpha').focus();
    for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowRight');
    await page.locator('#gpu').selectOption('h100');
    await page.locator('#eplb').check();
    await drawn(page);
    const after = await page.locator('#results').textContent();
    expect(after).toContain('llep(alpha=1.2)');
    expect(after).not.toBe(before);
    expect(page.url()).toContain('alpha=1.2');

    const linked = await open(page.url());
    await drawn(linked.page);
    expect(await linked.page.locator('#results').textContent()).toBe(after);
    expect(await linked.page.locator('#alpha').inputValue()).toBe('1.2');
    expect(await linked.page.locator('#eplb').isChecked()).toBe(true);
    expect([...faults, ...linked.faults]).toEqual([]);
    await page.close();
    await linked.page.close();
  });

  it.each([
    '#model=gpt-oss-120b&runtime=llep-reference&tokens=8192&amount=0.95',
    '#skew=zipf&amount=1.2&gpus=16&policies=llep,eplb,capacity&alpha=1.3&m=64&seed=3',
    '#model=deepseek-v3&weights=fp8&gpu=h800&skew=log-normal&gpus=32&tokens=512&policies=llep,eplb',
  ])('%s gives what the command line gives for its scenario, to 12 digits', async (hash) => {
    const { page, faults } = await open(address + hash);
    await drawn(page);
    const path = join(folder, 'playground.json');
    writeFileSync(path, await saved(page, '#scenario'));
    const shown = JSON.parse(await saved(page, '#result')) as Result;
    expect(comparable(shown)).toEqual(comparable(commandLine(path)));
    expect(faults).toEqual([]);
    await page.close();
  });

  it('replays a trace that is dropped, as the command line does beside the file', async () => {
    const { page, faults } = await open(`${address}#policies=llep`);
    await drawn(page);
    const trace = join(root, 'traces/quickstart.parquet');
    await page.locator('#file').setInputFiles(trace);
    await page.waitForFunction(() => location.hash.includes('trace=quickstart.parquet'));
    await drawn(page);
    copyFileSync(trace, join(folder, 'quickstart.parquet'));
    const path = join(folder, 'traced.json');
    writeFileSync(path, await saved(page, '#scenario'));
    const shown = JSON.parse(await saved(page, '#result')) as Result;
    expect(shown.routing.layers).toHaveLength(8);
    expect(comparable(shown)).toEqual(comparable(commandLine(path)));

    const linked = await open(page.url());
    expect(await linked.page.locator('#message').textContent()).toContain('Drop quickstart.parquet here');
    expect([...faults, ...linked.faults]).toEqual([]);
    await page.close();
    await linked.page.close();
  });

  it('says what is wrong with files, keeps what it shows, and goes on', async () => {
    const { page, faults } = await open(address);
    await drawn(page);
    const verdict = await page.locator('#verdict').textContent();
    await page.locator('#file').setInputFiles({
      name: '<img src=x onerror=alert(1)>.parquet',
      mimeType: '',
      buffer: Buffer.from('no trace'),
    });
    await page.waitForFunction(() => document.getElementById('message')!.textContent !== '');
    expect(await page.locator('#message').textContent()).toMatch(/found/);
    expect(await page.locator('#verdict').textContent()).toBe(verdict);
    expect(await page.locator('#result').isEnabled()).toBe(true);
    await page.locator('#weights').selectOption('fp8');
    await drawn(page);
    expect(await page.locator('#message').textContent()).toBe('');
    expect(faults).toEqual([]);
    await page.close();
  });

  it('marks what is out of date at once, and saves no result of other settings', async () => {
    const { page, faults } = await open(address);
    await drawn(page);
    const before = await page.locator('#verdict').textContent();
    // Half a second of simulation.
    const long = 'gpus=64&tokens=32768&steps=32&seed=2&model=deepseek-v3&policies=llep,eplb,capacity';
    expect(await ask(page, long)).toEqual({
      state: 'asked',
      busy: 'true',
      canSave: false,
    });
    await page.waitForFunction(() => {
      const isSeen = document.getElementById('computing')!.checkVisibility();
      return isSeen && Number(getComputedStyle(document.getElementById('results')!).opacity) < 0.6;
    });
    await drawn(page);
    expect(await page.locator('#verdict').textContent()).not.toBe(before);
    expect(await page.locator('#computing').isVisible()).toBe(false);
    expect(await page.locator('[aria-busy=true]').count()).toBe(0);
    expect((JSON.parse(await saved(page, '#result')) as Result).routing.steps).toBe(32);
    expect(faults).toEqual([]);
    await page.close();
  });

  it('keeps no result where there can be none, and says what to do', async () => {
    const { page, faults } = await open(address);
    await drawn(page);
    const nothing = async (message: string) => {
      await page.waitForFunction(() => document.body.dataset.state === 'nothing');
      expect(await page.locator('#message').textContent()).toContain(message);
      for (const id of ['verdict', 'results', 'words', 'taken', 'pictures']) {
        expect(await page.locator(`#${id}`).textContent(), id).toBe('');
      }
      expect(await page.locator('#result').isDisabled()).toBe(true);
    };
    await page.locator('#skew').selectOption('trace');
    await nothing('Drop a trace here');
    expect(await page.locator('#scenario').isDisabled()).toBe(true);
    await page.locator('#file').setInputFiles(join(root, 'traces/quickstart.parquet'));
    await drawn(page);
    expect(await page.locator('#scenario').isEnabled()).toBe(true);
    await page.locator('#model').selectOption('deepseek-v3');
    await nothing('Choose gpt-oss-20b as model');
    await page.locator('#model').selectOption('gpt-oss-20b');
    await drawn(page);
    expect(await page.locator('#message').textContent()).toBe('');
    expect(faults).toEqual([]);
    await page.close();
  });

  it('keeps what is open and focused through a redraw, and announces the new verdict', async () => {
    const { page, faults } = await open(address);
    await drawn(page);
    const verdict = page.locator('#verdict');
    expect(await verdict.getAttribute('role')).toBe('status');
    const before = await verdict.textContent();
    await verdict.evaluate((node) => (node.dataset.mark = 'same node'));
    const disclosures = page.locator('summary');
    expect(await disclosures.count()).toBe(5);
    for (const summary of await disclosures.all()) await summary.click();
    await ask(page, 'alpha=1.5&amount=0.8&policies=llep,eplb');
    await drawn(page);
    expect(await page.locator('#results').textContent()).toContain('llep(alpha=1.5)');
    expect(await page.locator('details[open]').count()).toBe(5);
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('SUMMARY');
    expect(await verdict.getAttribute('data-mark')).toBe('same node');
    expect(await verdict.textContent()).not.toBe(before);
    expect(faults).toEqual([]);
    await page.close();
  });

  it('writes the settings that it runs into the address', async () => {
    const { page, faults } = await open(`${address}#gpus=3&model=mixtral-8x7b&replicas=8&colour=red`);
    await drawn(page);
    expect(new URL(page.url()).hash).toBe('#model=mixtral-8x7b&gpus=4&replicas=4');
    expect(await page.locator('#replicas').getAttribute('max')).toBe('4');
    expect(faults).toEqual([]);
    await page.close();
  });

  it('says what its rows, columns and options mean', async () => {
    const { page, faults } = await open(address);
    await drawn(page);
    await page.locator('summary', { hasText: 'rows and columns' }).click();
    const words = await page.locator('#words').innerText();
    const marks = await page.locator('#results th[scope=col]').allInnerTexts();
    expect(marks).toContain('vs bound');
    for (const mark of ['γ GPU', 'vs bound', 'vs ep', 'peak memory', 'step'])
      expect(words).toContain(`${mark}: `);
    for (const mark of ['(anchor)', 'fits', 'llep', 'balanced']) expect(words).toContain(`${mark}: `);
    for (const control of await page.locator('aside select, aside input:not([type=file])').all()) {
      const help = await control.evaluate(
        (one) => document.getElementById(one.getAttribute('aria-describedby') ?? '')?.textContent,
      );
      expect(help, (await control.getAttribute('id'))!).toMatch(/\w+ .*\.$/);
    }
    const before = await page.locator('#runtime-help').textContent();
    await page.locator('#runtime').selectOption('llep-reference');
    expect(await page.locator('#runtime-help').textContent()).not.toBe(before);
    await drawn(page);
    expect(await page.locator('#taken').textContent()).toMatch(/^Simulated .* \d+ ms with the pictures\.$/);
    expect(faults).toEqual([]);
    await page.close();
  });

  it.each([360, 800])(
    '%i pixels wide, shows verdict and table above the slider that is moved',
    async (width) => {
      const { page, faults } = await open(address, { width });
      await drawn(page);
      const last = page.locator('#factor');
      await last.focus();
      await last.scrollIntoViewIfNeeded();
      await page.keyboard.press('ArrowRight');
      await drawn(page);
      await keepPicture(page, `playground-${width}`);
      const slider = (await last.boundingBox())!;
      for (const shown of ['#verdict', '#results table']) {
        const box = (await page.locator(shown).first().boundingBox())!;
        expect(box.y, shown).toBeGreaterThanOrEqual(0);
        expect(box.y + box.height, shown).toBeLessThanOrEqual(slider.y);
      }
      expect(slider.y + slider.height).toBeLessThanOrEqual(900);
      expect(faults).toEqual([]);
      await page.close();
    },
  );

  it('takes no harm from an address, whoever made it', async () => {
    const evil = encodeURIComponent('<img src=x onerror=alert(1)>');
    const { page, faults } = await open(
      `${address}#model=${evil}&gpus=1e9&tokens=NaN&steps=-5&amount=${evil}&policies=${evil}&seed=`,
    );
    // 64 GPUs are the most; what is no number and no name is as if it were not there.
    await drawn(page);
    expect(await page.locator('#gpus').getAttribute('aria-valuetext')).toBe('64');
    expect(await page.locator('#steps').inputValue()).toBe('1');
    const traced = await open(`${address}#skew=trace&trace=${evil}`);
    expect(await traced.page.locator('#message').textContent()).toContain('<img src=x');
    expect([...faults, ...traced.faults]).toEqual([]);
    await page.close();
    await traced.page.close();
  });

  it('fits a telephone, and is worked by keyboard alone', async () => {
    const { page, faults } = await open(address, { width: 400 });
    await drawn(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(400);
    await keepPicture(page, 'playground-narrow');
    for (const { id } of await page
      .locator('input, select, button')
      .evaluateAll((all) => all.map(({ id }) => ({ id })))) {
      const named = page.locator(`#${id}`);
      const label = await named.evaluate(
        (control) => (control as HTMLInputElement).labels?.[0]?.textContent ?? control.textContent,
      );
      expect(label, id).toMatch(/\w/);
      expect(await named.evaluate((control) => (control as HTMLElement).tabIndex)).toBe(0);
    }
    expect(faults).toEqual([]);
    await page.close();
  });

  it('is served by epsim web, on this machine only', async () => {
    const server = spawn(process.execPath, [main, 'web', '--port', '0']);
    const ended = once(server, 'exit');
    const [line] = (await once(server.stderr, 'data')) as [Buffer];
    const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(line.toString())![0];
    const { page, faults } = await open(`${url}#steps=1`);
    await drawn(page);
    expect(await page.locator('.verdict').textContent()).toMatch(/\w+/);
    expect(faults).toEqual([]);
    await page.close();
    server.kill('SIGTERM');
    expect((await ended)[0]).toBe(0);
  });
});

describe('epsim web', () => {
  const folder = workFolder();

  it('writes the playground as one page', () => {
    const { status } = epsim(['web', '--out', join(folder, 'public')]);
    expect(status).toBe(0);
    const page = readFileSync(join(folder, 'public/index.html'), 'utf8');
    expect(page).toBe(readFileSync(join(root, 'dist/web/index.html'), 'utf8'));
    expect(page).toContain("connect-src 'none'");
  });

  it('refuses what is no port', () => {
    const { status, stderr } = epsim(['web', '--port', '99999']);
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining('--port: found "99999", allowed: 0 to 65535'),
    ]);
  });
});
