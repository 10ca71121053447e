import { z } from 'zod';
import { timedSchema, type Case, type Timed } from '../calibration/index.js';
import { packageFile } from '../files/index.js';
import { BackendError, CaseRefused, type Backend, type Effort, type OpenDevice } from './backend.js';
import { LineProcess } from './torch-process.js';
import { greetingSchema, torchRefusal, type Greeting } from './torch-refusal.js';

const TOOL = packageFile('tools/measure_torch.py');

const firstLineSchema = z.union([greetingSchema, z.object({ missing: z.string() })]);

const answerSchema = z.union([
  z.object({ row: timedSchema.omit({ case: true }) }),
  z.object({ refusal: z.string() }),
  z.object({ error: z.string() }),
]);

/**
 * Times kernels with PyTorch, in a process of its own: on the current CUDA device, or on the CPU where there
 * is none.
 * @param python interpreter that has PyTorch; default: EPSIM_PYTHON, else python3
 */
export function torchBackend(python = process.env.EPSIM_PYTHON || 'python3'): Backend {
  return {
    name: 'torch',
    async open() {
      const { tool, greeting } = await start(python);
      return new TorchDevice(python, tool, greeting);
    },
  };
}

/** @throws BackendError that says what to install */
async function start(python: string): Promise<{ tool: LineProcess; greeting: Greeting }> {
  // Without -B, Python would leave compiled files beside the tool.
  const tool = new LineProcess(python, ['-B', TOOL]);
  try {
    const first = parse(firstLineSchema, await tool.read());
    if ('missing' in first) throw new BackendError(`${python} cannot import PyTorch (${first.missing})`);
    return { tool, greeting: first };
  } catch (error) {
    await tool.kill();
    if (!(error instanceof BackendError)) throw error;
    throw new BackendError(
      `${error.message}. The torch backend needs Python with PyTorch: install it (pip install torch, or ` +
        "Debian's python3-torch), or name an interpreter that has it with --python or EPSIM_PYTHON.",
    );
  }
}

class TorchDevice implements OpenDevice {
  constructor(
    private readonly python: string,
    private tool: LineProcess,
    private readonly greeting: Greeting,
  ) {}

  get device() {
    return this.greeting.device;
  }

  get software() {
    return this.greeting.software;
  }

  refusal(wanted: Case): string | null {
    return torchRefusal(this.greeting, wanted);
  }

  /** A process that a case has brought down is started anew for the next one. */
  async time(wanted: Case, effort: Effort): Promise<Timed> {
    if (!this.tool.isAlive) this.tool = (await start(this.python)).tool;
    const answer = parse(answerSchema, await this.tool.ask({ case: wanted, effort }));
    if ('refusal' in answer) throw new CaseRefused(answer.refusal);
    if ('error' in answer) throw new BackendError(answer.error);
    return { case: wanted, ...answer.row };
  }

  close(): Promise<void> {
    return this.tool.kill();
  }
}

function parse<T>(schema: z.ZodType<T>, message: unknown): T {
  const parsed = schema.safeParse(message);
  if (parsed.success) return parsed.data;
  throw new BackendError(
    `measure_torch.py said what it should not: ${JSON.stringify(message).slice(0, 200)}`,
  );
}
