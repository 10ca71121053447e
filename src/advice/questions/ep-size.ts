import { isInputRefusal } from '../refusal.js';
import { figuresOf, policyAt, speedupText } from '../figures.js';
import { Unanswerable, type Question } from '../question.js';

export const epSize: Question = {
  name: 'ep-size',
  asks: 'Which EP size, and is tensor parallel better?',
  async answer(desk) {
    const { gpus, shape, expertBytes } = desk;
    const sizes = [gpus / 4, gpus / 2, gpus, 2 * gpus, 4 * gpus].filter(
      (size) => size >= 2 && Number.isInteger(size) && shape.experts % size === 0,
    );
    const rows: Record<string, string | number>[] = [];
    const commands: string[] = [];
    const left: string[] = [];
    let best: { size: number; tokens: number; range: string; text: string } | null = null;
    for (const size of sizes) {
      try {
        const { result, command } = await desk.score({
          set: { 'cluster.gpus': size },
          policies: (offline) => ['ep', { kind: 'eplb', history: offline }],
        });
        commands.push(command);
        const [ep, eplb] = [policyAt(result, 0), policyAt(result, 1)];
        const fast = eplb.speedup.low > 1 ? eplb : ep;
        const tokens = fast.tokensPerSecondPerGpu;
        const { mean, low, high } = fast.stepLatency;
        const range = `[${count((tokens * mean) / high)}, ${count((tokens * mean) / low)}]`;
        if (best === null || tokens > best.tokens)
          best = {
            range,
            size,
            tokens,
            text: fast === ep ? 'with ep' : `with eplb, ${speedupText(eplb)} as fast as ep`,
          };
        for (const policy of [ep, eplb]) {
          rows.push({
            gpus: size,
            ...figuresOf(policy),
            tokensPerSecondPerGpu: policy.tokensPerSecondPerGpu,
            weightBytesPerGpu: (expertBytes * shape.moeLayers * shape.experts) / size,
          });
        }
      } catch (error) {
        if (!isInputRefusal(error)) throw error;
        left.push(`${size} GPUs (${error.message})`);
      }
    }
    if (best === null || commands.length < 2) {
      throw new Unanswerable(
        `no two sizes can be compared${left.length > 0 ? `: ${left.join('; ')}` : ` that divide ${shape.experts} experts`}`,
      );
    }
    const own = rows.find(({ gpus: size }) => size === gpus);
    const gain =
      own === undefined || best.size === gpus
        ? ''
        : `, ${(best.tokens / (own.tokensPerSecondPerGpu as number)).toFixed(2)}× what ep has on the scenario's ${gpus}`;
    return {
      sentence:
        `${best.size} GPUs, of ${rows
          .filter((_, i) => i % 2 === 0)
          .map(({ gpus: size }) => size)
          .join(', ')}: ` +
        `${count(best.tokens)} ${best.range} tokens per second and GPU through one MoE layer ${best.text}${gain}, at the same ` +
        `tokens per GPU. ${tensorParallel(desk.runtimes)}${left.length > 0 ? ` Left out: ${left.join('; ')}.` : ''}`,
      rows,
      commands,
    };
  },
};

function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}

/** What can be said of tensor parallelism. */
function tensorParallel(runtimes: readonly string[]): string {
  return runtimes.some((name) => name.includes('tensor'))
    ? 'Tensor parallel: run the scenario with that runtime beside this one (epsim run a.json b.json).'
    : 'Whether tensor parallel is better: not simulated.';
}
