/**
 * Bundles the command and its worker threads into a few files, dist/bin: read from one by one, the modules of the
 * project and of its libraries take longer than a small run does.
 */
import { chmod } from 'node:fs/promises';
import { build } from 'esbuild';

await build({
  entryPoints: {
    epsim: new URL('../src/cli/main.ts', import.meta.url).pathname,
    'sweep-worker': new URL('../src/sweep-worker.ts', import.meta.url).pathname,
  },
  outdir: new URL('../dist/bin', import.meta.url).pathname,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // What finds files of its own beside itself, is only there on request, or is seldom needed.
  external: ['tinypool', 'highs', 'vega', 'vega-lite', '@duckdb/node-api', 'webgpu'],
  // Some libraries ask for Node's modules in the old way.
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
  },
});

// npx remembers where it found the command when it first ran in this folder, and that was here before it was bundled.
await chmod(new URL('../dist/cli/main.js', import.meta.url), 0o755);
