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

  it('says what is wrong with settings and files, and goes on', async () => {
    const { page, faults } = await open(`${address}#weights=fp8&policies=replicate-quantize&replicas=8`);
    await page.waitForFunction(() => document.body.dataset.state !== 'asked');
    await page.locator('#file').setInputFiles({
      name: '<img src=x onerror=alert(1)>.parquet',
      mimeType: '',
      buffer: Buffer.from('no trace'),
    });
    await page.waitForFunction(() => document.getElementById('message')!.textContent !== '');
    expect(await page.locator('#message').textContent()).toMatch(/found/);
    await page.locator('#weights').selectOption('bf16');
    await drawn(page);
    expect(await page.locator('#message').textContent()).toBe('');
    expect(faults).toEqual([]);
    await page.close();
  });

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
