import { Command, Option } from '@commander-js/extra-typings';
import { explanationText } from '../../report/index.js';
import { explainOpened } from '../../run-explain.js';
import { progressBar } from '../progress.js';
import { collect, openFile } from '../scenario-file.js';

export function explainCommand() {
  return new Command('explain')
    .description('say where the time of a scenario’s layers goes: phases, GPUs, layers, experts, predictions')
    .argument('<scenario>', 'scenario file')
    .option('--set <path=value>', 'change one value of the scenario (repeatable)', collect, [])
    .option('--policy <policy>', 'explain this policy instead of those listed (repeatable)', collect, [])
    .addOption(new Option('--format <format>', 'how to print it').choices(['text', 'json']).default('text'))
    .action(async (file, options) => {
      const opened = await openFile(file, options);
      const progress = progressBar(opened.scenario.name ?? opened.file);
      const explanation = explainOpened(opened, progress.onStep);
      progress.stop();
      process.stdout.write(
        `${options.format === 'json' ? JSON.stringify(explanation, null, 2) : explanationText(explanation)}\n`,
      );
    });
}
