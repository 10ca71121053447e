import { chromium } from 'playwright-core';
const root = process.argv[2] ?? '/work/main';
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
async function series(which, slider) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  await page.goto('file://' + root + '/dist/web/index.html');
  const drawn = () => page.waitForFunction(() => document.body.dataset.state === 'drawn', null, { timeout: 60000 });
  await drawn();
  if (which === 'trace') { await page.locator('#file').setInputFiles('/work/main/traces/quickstart.parquet'); await page.waitForFunction(() => location.hash.includes('trace')); await drawn(); }
  const times = await page.evaluate(async ([slider]) => {
    const input = document.getElementById(slider);
    const out = [];
    for (let i = 0; i < 32; i++) {
      const step = Number(input.step);
      const span = Math.max(1, Math.min(41, Math.round((Number(input.max) - Number(input.min)) / step)));
      input.value = String(Number(input.min) + step * ((i * 5 + 1) % span));
      await new Promise((r) => setTimeout(r, 120));
      const t0 = performance.now();
      const done = new Promise((resolve) => {
        let table = null;
        const results = new MutationObserver(() => { table ??= performance.now(); });
        results.observe(document.getElementById('results'), { childList: true, subtree: true, characterData: true, attributes: true });
        const o = new MutationObserver(() => {
          if (document.body.dataset.state !== 'drawn') return;
          o.disconnect(); results.disconnect();
          const inDom = performance.now();
          requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = () => resolve([table - t0, inDom - t0, performance.now() - t0, ...document.getElementById('taken').textContent.match(/\d+/g).map(Number)]); c.port2.postMessage(0); });
        });
        o.observe(document.body, { attributes: true });
      });
      input.dispatchEvent(new Event('input', { bubbles: true }));
      input.dispatchEvent(new Event('change', { bubbles: true }));
      const t = await Promise.race([done, new Promise((r) => setTimeout(() => r(null), 3000))]);
      if (i >= 10 && t) out.push(t);
    }
    return out;
  }, [slider]);
  await page.close();
  const med = (k) => times.map((t) => t[k]).sort((a, b) => a - b)[times.length >> 1]?.toFixed(0);
  const max = (k) => Math.max(...times.map((t) => t[k])).toFixed(0);
  console.log(root, which, slider, times.length, 'table', med(0), 'dom', med(1), 'painted', med(2), 'max', max(2), 'worker: numbers', med(3), 'pictures', med(4));
}
const sliders = (process.argv[3] ?? 'alpha,factor,replicas,lambda').split(',');
for (const s of sliders) { await series('trace', s); }
await series('none', 'alpha'); await series('none', 'factor');
await browser.close();
