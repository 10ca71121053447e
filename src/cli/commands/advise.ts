import { Command, Option } from '@commander-js/extra-typings';
import { questions } from '../../advice/index.js';
import { readJson } from '../../files/index.js';
import { adviceText } from '../../report/index.js';
import { advise } from '../../run-advise.js';
import { UsageError } from '../input-error.js';
import { collect } from '../scenario-file.js';

const names = questions.map(({ name }) => name);

export function adviseCommand() {
  return new Command('advise')
    .description(
      'answer what users ask of a scenario: worth it, redundancy, interval, EP size, another trace …',
    )
    .argument('<scenario>', 'scenario file')
    .option('--other <trace>', 'another trace, to ask whether a placement planned on this one holds there')
    .option('--only <question>', `answer only this one (repeatable): ${names.join(', ')}`, collect, [])
    .option('--set <path=value>', 'change one value of the scenario (repeatable)', collect, [])
    .addOption(new Option('--format <format>', 'how to print it').choices(['text', 'json']).default('text'))
    .action(async (file, { other, only, set, format }) => {
      const unknown = only.find((name) => !names.includes(name));
      if (unknown !== undefined) {
        throw new UsageError(`--only: found '${unknown}', allowed: ${names.join(', ')}`);
      }
      const advice = await advise((await readJson(file)) as object, file, {
        set,
        only,
        other: other ?? null,
        onQuestion: ({ asks }) => console.error(asks),
      });
      process.stdout.write(`${format === 'json' ? JSON.stringify(advice, null, 2) : adviceText(advice)}\n`);
    });
}
