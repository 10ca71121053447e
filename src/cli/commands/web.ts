import { Command } from '@commander-js/extra-typings';
import { createServer } from 'node:http';
import { packageFile, readBytes, writeFolder } from '../../files/index.js';
import { dirname, basename, resolve } from 'node:path';
import { UsageError } from '../input-error.js';

/** The playground: one page, made by tools/build-web.js. */
const PAGE = packageFile('dist/web/index.html');

const LARGEST_PORT = 65_535;

export function webCommand() {
  return new Command('web')
    .description('open the playground: the simulator in a browser, on this machine only')
    .option('--port <number>', 'port on 127.0.0.1; 0: any that is free', portOf, 8080)
    .option('--out <folder>', 'write the playground to a folder that any web server can serve, and end')
    .action(async ({ port, out }) => {
      const page = new Uint8Array(await readBytes(PAGE));
      if (out === undefined) return serve(page, port);
      const folder = await writeFolder(dirname(resolve(out)), basename(resolve(out)), { 'index.html': page });
      console.error(`wrote ${folder}/index.html`);
    });
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= LARGEST_PORT) return port;
  throw new UsageError(`--port: found ${JSON.stringify(text)}, allowed: 0 to ${LARGEST_PORT}`);
}

/** Answers until the process is told to end. */
function serve(page: Uint8Array, port: number): Promise<void> {
  const server = createServer((request, response) => {
    const known = ['/', '/index.html'].includes((request.url ?? '').split('?')[0]);
    response.writeHead(known ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
    response.end(known ? page : 'not here');
  });
  return new Promise((done, fail) => {
    server.on('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE' || error.code === 'EACCES';
      fail(taken ? new UsageError(`--port: found ${port}, which is taken, allowed: a free port`) : error);
    });
    server.on('close', done);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        server.close();
        server.closeAllConnections();
      });
    }
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      const own = typeof address === 'object' && address !== null ? address.port : port;
      console.error(`playground at http://127.0.0.1:${own}/ (Ctrl+C ends it)`);
    });
  });
}
