import { Command, Option } from '@commander-js/extra-typings';
import {
  describeCase,
  estimateSeconds,
  measurementPlan,
  PLAN_NAMES,
  type MeasurementPlan,
} from '../../../calibration/index.js';
import { readTrace } from '../../../files/index.js';
import {
  BACKEND_NAMES,
  BackendError,
  backendOf,
  measure,
  type Backend,
  type MeasureOutcome,
  type OpenDevice,
} from '../../../measure/index.js';
import { VERSION } from '../../../version.js';
import { UsageError } from '../../input-error.js';
import { progressBar } from '../../progress.js';

export function measureCommand() {
  return new Command('measure')
    .description('time on this machine what the cost model needs; goes on with a file that is there')
    .addOption(
      new Option('--backend <name>', 'what to measure with').choices(BACKEND_NAMES).makeOptionMandatory(),
    )
    .option('--out <file>', 'the measurements to write (.json)')
    .addOption(
      new Option(
        '--plan <name>',
        'full: under ten minutes on a data-centre GPU; quick: about one; tiny: a try',
      )
        .choices(PLAN_NAMES)
        .default('full'),
    )
    .option('--trace <path>', 'also time windows of this recording')
    .option('--list', 'print what would be timed, and time nothing')
    .option('--python <interpreter>', 'Python that has PyTorch (default: EPSIM_PYTHON, or python3)')
    .action(async ({ backend, out, plan: name, trace: path, list, python }) => {
      const recording = path === undefined ? null : (await readTrace(path, process.cwd())).trace;
      const plan = measurementPlan(name, recording);
      if (list) {
        process.stdout.write(listing(plan));
        return;
      }
      if (out === undefined) throw new UsageError("--out: found nothing, allowed: the measurements' file");
      await measureInto(out, plan, await backendOf(backend, { python }));
    });
}

function listing(plan: MeasurementPlan): string {
  const minutes = (estimateSeconds(plan) / 60).toFixed(1);
  const lines = plan.cases.map(describeCase);
  return `${lines.join('\n')}\n${lines.length} cases, about ${minutes} minutes on a data-centre GPU\n`;
}

/** @throws BackendError where a part is left to do */
async function measureInto(out: string, plan: MeasurementPlan, backend: Backend): Promise<void> {
  const device = await open(backend);
  const interruption = new AbortController();
  const interrupt = () => interruption.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  const progress = progressBar(device.device.name, 'cases');
  try {
    const outcome = await measure({
      plan,
      device,
      source: { name: `epsim calibrate measure --backend ${backend.name}`, version: VERSION },
      out,
      signal: interruption.signal,
      onCase: progress.onStep,
    });
    progress.stop();
    console.error(summary(out, device, outcome));
    const { failed, left } = outcome;
    if (failed.length + left > 0) {
      throw new BackendError(
        `${failed.length + left} cases are left: the same command again goes on with ${out}`,
      );
    }
  } finally {
    progress.stop();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    await device.close();
  }
}

/** What is missing on this machine is the user's to mend. */
async function open(backend: Backend): Promise<OpenDevice> {
  try {
    return await backend.open();
  } catch (error) {
    if (error instanceof BackendError) throw new UsageError(error.message);
    throw error;
  }
}

function summary(out: string, { device }: OpenDevice, outcome: MeasureOutcome): string {
  const { timed, kept, refused, failed } = outcome;
  const reasons = new Map<string, number>();
  for (const { why } of refused) reasons.set(why, (reasons.get(why) ?? 0) + 1);
  return [
    `${out}: ${device.name} (${device.kind}), ${timed} cases timed, ${kept} there before, ${refused.length} refused`,
    ...[...reasons].map(([why, count]) => `* ${count} refused: ${why}`),
    ...failed.map(({ case: wanted, why }) => `* failed: ${describeCase(wanted)}: ${why}`),
  ].join('\n');
}
