import { Command, CommanderError } from '@commander-js/extra-typings';
import { SchedulerError } from '../submit-sweep.js';
import { VERSION } from '../version.js';
import { BackendError } from '../measure/index.js';
import { adviseCommand } from './commands/advise.js';
import { calibrateCommand } from './commands/calibrate.js';
import { diffCommand } from './commands/diff.js';
import { explainCommand } from './commands/explain.js';
import { initCommand } from './commands/init.js';
import { listCommand } from './commands/list.js';
import { planCommand } from './commands/plan.js';
import { reportCommand } from './commands/report.js';
import { routersCommand } from './commands/routers.js';
import { runCommand } from './commands/run.js';
import { stressCommand } from './commands/stress.js';
import { sweepCommand } from './commands/sweep.js';
import { tuneCommand } from './commands/tune.js';
import { traceCommand } from './commands/trace.js';
import { webCommand } from './commands/web.js';
import { validateCommand } from './commands/validate.js';
import { Interrupted, isInputError } from './input-error.js';

/** Exit codes: 0 done, 1 failure inside, 2 bad usage or bad input. */
const DONE = 0;
const FAILURE = 1;
const BAD_INPUT = 2;

/**
 * Runs the command line.
 * @param args without the interpreter and the script
 * @returns the exit code
 */
export async function main(args: readonly string[]): Promise<number> {
  const program = new Command('epsim')
    .description(
      'Which load balancer helps a Mixture-of-Experts model under expert parallelism, and what it costs.',
    )
    .version(VERSION)
    .showHelpAfterError('(epsim --help shows what there is)')
    .exitOverride();
  for (const command of [
    runCommand,
    sweepCommand,
    tuneCommand,
    planCommand,
    reportCommand,
    webCommand,
    listCommand,
    initCommand,
    explainCommand,
    adviseCommand,
    stressCommand,
    diffCommand,
    traceCommand,
    routersCommand,
    calibrateCommand,
    validateCommand,
  ]) {
    program.addCommand(command());
  }
  for (const command of [
    program,
    ...program.commands,
    ...program.commands.flatMap(({ commands }) => commands),
  ]) {
    command.exitOverride();
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    // A command that is done may have found a failure.
    return typeof process.exitCode === 'number' ? process.exitCode : DONE;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : BAD_INPUT;
    if (error instanceof Interrupted) {
      console.error(error.message);
      return error.exitCode;
    }
    if (isInputError(error)) {
      console.error(error.message);
      return BAD_INPUT;
    }
    // A device or a scheduler that failed has a message of its own, and no bug to trace.
    const isKnown = [BackendError, SchedulerError].some((kind) => error instanceof kind);
    if (isKnown) console.error((error as Error).message);
    else console.error('epsim failed:', error);
    return FAILURE;
  }
}
