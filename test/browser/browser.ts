import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { root } from '../cli/epsim.js';

/** Debian's Chromium, or the browser that EPSIM_CHROMIUM names. */
const executable = process.env.EPSIM_CHROMIUM ?? '/usr/bin/chromium';
const found = existsSync(executable);

if (!found && process.env.EPSIM_REQUIRE_BROWSER === '1') {
  throw new Error(`${executable} is not there, and EPSIM_REQUIRE_BROWSER=1`);
}
if (!found) console.error(`left out: ${executable} is not there (EPSIM_CHROMIUM names another browser)`);

/** Whether tests that need a browser are left out. */
export const noBrowser = !found;

/** A page, and what went wrong in it: messages of the console, exceptions, and requests that left the machine. */
export interface Visit {
  page: Page;
  faults: string[];
}

/** A browser of the test file's own: opens pages by address, with what goes wrong in them. */
export function useBrowser(): (url: string, options?: { dark?: boolean; width?: number }) => Promise<Visit> {
  let browser: Browser;
  beforeAll(async () => {
    if (found) browser = await chromium.launch({ executablePath: executable, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    if (found) await browser.close();
  });
  return async (url, { dark = false, width = 1200 } = {}) => {
    const page = await browser.newPage({
      viewport: { width, height: 900 },
      colorScheme: dark ? 'dark' : 'light',
      acceptDownloads: true,
    });
    const faults: string[] = [];
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => faults.push(`exception: ${error.message}`));
    page.on('dialog', (dialog) => {
      faults.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (!/^(file|blob|data|http:\/\/127\.0\.0\.1)/.test(request.url()))
        faults.push(`asked for ${request.url()}`);
    });
    await page.goto(url);
    return { page, faults };
  };
}

/** Keeps a picture for a look, in a folder that git ignores. */
export async function keepPicture(page: Page, name: string): Promise<void> {
  const folder = join(root, 'coverage/pictures');
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}
