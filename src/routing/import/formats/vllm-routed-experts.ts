import { z } from 'zod';
import { bytesInMemory, type ByteSource } from '../../bytes.js';
import { TraceError, type Phase } from '../../trace/trace.js';
import { parseAs, parseJson, readJsonFile } from '../containers/json.js';
import { lines } from '../containers/lines.js';
import { readNpyArray } from '../containers/npy.js';
import { checkShape, checkWhole, type Tensor } from '../containers/tensor.js';
import type { ImportJob, TraceFormat } from '../format.js';
import { MOST_EXPERTS } from '../limits.js';

const responseSchema = z.object({
  model: z.string().optional(),
  prompt_routed_experts: z.unknown().optional(),
  routed_experts: z.unknown().optional(),
  choices: z
    .array(
      z.object({ prompt_routed_experts: z.unknown().optional(), routed_experts: z.unknown().optional() }),
    )
    .optional(),
});
type Response = z.output<typeof responseSchema>;

/**
 * Responses of vLLM with `--enable-return-routed-experts`: a JSON document, an array of them, or one a line.
 * Arrays are [tokens][layers][topK] of logical experts, nested or as base64 of a `.npy` file. A response is a
 * sequence: its prompt is prefill, what each choice generated is decode.
 */
export const vllmRoutedExperts: TraceFormat = {
  name: 'vllm-routed-experts',
  summary: 'vLLM responses with routed_experts and prompt_routed_experts: JSON, or JSON lines',
  detects: (files) =>
    files.some(({ text }) => /^\s*[[{]/.test(text) && /"(prompt_)?routed_experts"/.test(text)),
  async read(job) {
    // Known from the first array.
    let shape: { layers: number; topK: number } | null = null;
    let trace: ReturnType<ImportJob['tokens']> | null = null;
    let seen = 0;
    let sequence = 0;
    const limit = job.options.experts ?? MOST_EXPERTS;
    const add = async (place: string, value: unknown, phase: Phase): Promise<number> => {
      const { shape: found, data } = await tensorOf(place, value);
      checkShape(place, found, [null, shape?.layers ?? null, shape?.topK ?? null]);
      const [tokens, layers, topK] = found;
      if (tokens === 0) return 0;
      checkWhole(place, data, limit);
      shape ??= { layers, topK };
      trace ??= job.tokens(
        {
          experts: limit,
          topK: job.topK(topK, limit),
          layerIds: Array.from({ length: layers }, (_, l) => l),
        },
        { batches: false, sequences: true, domains: false, phases: true, padding: false, weights: false },
      );
      for (let i = 0; i < data.length; i++) if (data[i] > seen) seen = data[i];
      for (let token = 0; token < tokens; token++) {
        trace.writer.add({ sequence, phase }, data, null, token * layers * topK);
      }
      return tokens;
    };
    for await (const { place, response } of responses(job.files)) {
      const choices = response.choices ?? [response];
      for (const [i, choice] of choices.entries()) {
        const at = response.choices ? `${place}, choices.${i}` : place;
        const prompt = choice.prompt_routed_experts ?? response.prompt_routed_experts;
        let tokens = 0;
        // Every choice goes on from the same prompt, which was computed once.
        if (prompt != null && i === 0) tokens += await add(`${at}.prompt_routed_experts`, prompt, 'prefill');
        if (choice.routed_experts != null)
          tokens += await add(`${at}.routed_experts`, choice.routed_experts, 'decode');
        if (tokens > 0) sequence++;
      }
    }
    if (trace === null) throw new TraceError('', 'no response with routed_experts', 'at least one');
    if (job.options.experts === undefined) {
      job.note(
        `${seen + 1} experts: the largest number seen and one more, since responses do not say how many (--experts does)`,
      );
    }
    // Assigned within `add`, which the compiler does not follow.
    const open = trace as ReturnType<ImportJob['tokens']>;
    return open.finish({ experts: job.options.experts ?? seen + 1 });
  },
};

async function* responses(
  files: readonly ByteSource[],
): AsyncGenerator<{ place: string; response: Response }> {
  for (const file of files) {
    const head = new TextDecoder().decode(await file.read(0, Math.min(64, file.byteLength)));
    if (/^\s*\[/.test(head)) {
      const list = parseAs(file.name, z.array(z.unknown()), await readJsonFile(file));
      for (const [i, item] of list.entries()) {
        const place = `${file.name}, response ${i}`;
        yield { place, response: parseAs(place, responseSchema, item) };
      }
    } else if (await isOneDocument(file)) {
      yield { place: file.name, response: parseAs(file.name, responseSchema, await readJsonFile(file)) };
    } else {
      for await (const { number, text } of lines(file)) {
        const place = `${file.name}, line ${number}`;
        yield { place, response: parseAs(place, responseSchema, parseJson(place, text)) };
      }
    }
  }
}

/** Whether a file is one document over many lines: its first line alone is none then. */
async function isOneDocument(file: ByteSource): Promise<boolean> {
  for await (const { text } of lines(file)) {
    try {
      JSON.parse(text);
      return false;
    } catch {
      return true;
    }
  }
  return true;
}

async function tensorOf(place: string, value: unknown): Promise<Tensor> {
  if (typeof value === 'string') {
    let bytes: Uint8Array;
    try {
      bytes = Uint8Array.from(atob(value), (char) => char.charCodeAt(0));
    } catch {
      throw new TraceError(place, 'a text that is no base64', 'nested arrays, or base64 of a .npy file');
    }
    return readNpyArray(bytesInMemory(bytes), place);
  }
  const shape: number[] = [];
  for (let at = value; Array.isArray(at) && shape.length < 4; at = (at as unknown[])[0])
    shape.push(at.length);
  const data: number[] = [];
  flatten(place, value, shape, 0, data);
  return { shape: shape[0] === 0 ? [0, 1, 1] : shape, data };
}

function flatten(
  place: string,
  value: unknown,
  shape: readonly number[],
  depth: number,
  into: number[],
): void {
  if (depth === shape.length) {
    if (typeof value !== 'number')
      throw new TraceError(place, `a ${typeof value}`, '[tokens][layers][topK] numbers');
    into.push(value);
    return;
  }
  if (!Array.isArray(value) || value.length !== shape[depth]) {
    throw new TraceError(place, 'rows of unequal length', '[tokens][layers][topK] numbers');
  }
  for (const item of value as unknown[]) flatten(place, item, shape, depth + 1, into);
}
