import { Command, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { checkFolder, hashOf, readJson, writeFolder } from '../../files/index.js';
import { routerLabText } from '../../report/index.js';
import { labSchema, objectives, objectiveSchema } from '../../routers/index.js';
import { runRouterLab } from '../../run-routers.js';
import { parseInput, setPath } from '../../scenario/index.js';
import { parseChoice } from '../policy-argument.js';
import { progressBar } from '../progress.js';

const collect = (value: string, before: string[]) => [...before, value];

export function routersCommand() {
  return new Command('routers')
    .description('what the training of a router does to the load, and that to every policy')
    .addCommand(trainCommand());
}

function trainCommand() {
  return new Command('train')
    .description(
      'train small routers under different objectives, record their routing, and run a scenario on it',
    )
    .option(
      '--objective <objective>',
      'train under this one instead of all: switch, switch:alpha=0.1, or JSON (repeatable)',
      collect,
      [],
    )
    .option('--scenario <file>', 'whose model, cluster, batch and policies to use; its routing is replaced')
    .option('--set <key=value>', 'change what the lab is made of, e.g. steps=800 (repeatable)', collect, [])
    .option('--seed <seed>', "default: the scenario's", seed)
    .option('--out <folder>', 'keep the traces and lab.json in a folder of their own under this one')
    .addOption(new Option('--format <format>', 'what to print').choices(['table', 'json']).default('table'))
    .addHelpText('after', () => `\nObjectives:\n${objectiveList()}\n\nThe lab's keys:\n${keyList()}`)
    .action(async ({ objective, scenario, set, seed, out, format }) => {
      const asked = objective.map((text) => {
        const choice = parseChoice(text, '--objective');
        return parseInput(
          objectiveSchema,
          typeof choice === 'string' ? { kind: choice } : choice,
          '--objective',
        );
      });
      let keys: unknown = {};
      for (const assignment of set) keys = setPath(keys, assignment);
      const lab = parseInput(labSchema, keys, '--set');
      const given = scenario === undefined ? undefined : { input: await readJson(scenario), file: scenario };
      if (out !== undefined) await checkFolder(out);
      const progress = progressBar('routers', 'objectives');
      const traces: Record<string, Uint8Array> = {};
      const report = await runRouterLab({
        scenario: given,
        objectives: asked.length > 0 ? asked : undefined,
        lab,
        seed,
        onTrace: out === undefined ? undefined : (label, bytes) => (traces[`${label}.parquet`] = bytes),
        onObjective: progress.onStep,
      });
      progress.stop();
      const json = `${JSON.stringify(report, null, 2)}\n`;
      if (out !== undefined) {
        const folder = `router-lab-${hashOf([json]).slice(0, 10)}`;
        console.error(`kept in ${await writeFolder(out, folder, { ...traces, 'lab.json': json })}`);
      }
      process.stdout.write(format === 'json' ? json : `${routerLabText(report)}\n`);
    });
}

function seed(text: string): number | string {
  if (text === '') throw new InvalidArgumentError('Allowed: a number or a text.');
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : text;
}

function objectiveList(): string {
  const width = Math.max(...objectives.map(({ kind }) => kind.length));
  return objectives.map(({ kind, summary }) => `  ${kind.padEnd(width)}  ${summary}`).join('\n');
}

function keyList(): string {
  const keys = Object.entries(labSchema.shape);
  const width = Math.max(...keys.map(([key]) => key.length));
  return keys.map(([key, { description }]) => `  ${key.padEnd(width)}  ${description}`).join('\n');
}
