import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { BackendError } from './backend.js';

/** Characters of what a process said last on stderr that a message quotes. */
const QUOTED = 600;

/** A process that answers each line of JSON with one. */
export class LineProcess {
  private readonly child;
  private readonly answers: AsyncIterator<string>;
  /** Settled when all that it said has been read, with why it ended. */
  private readonly end: Promise<string>;
  private readonly gone: Promise<void>;
  private complaints = '';

  constructor(
    private readonly command: string,
    args: readonly string[],
  ) {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.answers = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.complaints = (this.complaints + text).slice(-QUOTED);
    });
    // A process that is gone no longer reads; its end says why.
    this.child.stdin.on('error', () => undefined);
    this.gone = new Promise((resolve) => {
      this.child.on('error', () => resolve()).on('exit', () => resolve());
    });
    this.end = new Promise((resolve) => {
      this.child.on('error', (error: NodeJS.ErrnoException) =>
        resolve(`it cannot be started, ${error.code === 'ENOENT' ? 'no such program' : error.message}`),
      );
      this.child.on('close', (code, signal) =>
        resolve(signal ? `it was killed by ${signal}` : `it ended with exit code ${code}`),
      );
    });
  }

  /** Whether it can be asked. */
  get isAlive(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The next line that it says. @throws BackendError where it says none, or no JSON */
  async read(): Promise<unknown> {
    const line = await this.answers.next();
    if (line.done) throw new BackendError(`${this.command}: ${await this.reason()}`);
    try {
      return JSON.parse(line.value);
    } catch {
      throw new BackendError(
        `${this.command} said something that is not JSON: ${line.value.slice(0, QUOTED)}`,
      );
    }
  }

  /** @throws BackendError */
  ask(request: unknown): Promise<unknown> {
    this.child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.read();
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.gone;
  }

  private async reason(): Promise<string> {
    const end = await this.end;
    const said = this.complaints.trim();
    return said ? `${end}; it said: ${said}` : end;
  }
}
