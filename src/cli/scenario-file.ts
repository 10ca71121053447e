import { readJson } from '../files/index.js';
import { openScenario, type OpenedScenario } from '../run.js';
import { setPath } from '../scenario/index.js';
import { parsePolicyArgument } from './policy-argument.js';

/** Collects the values of an option that can be repeated. */
export const collect = (value: string, before: string[]) => [...before, value];

/** What options change of a scenario's file. */
export interface ScenarioChanges {
  set: string[];
  policy: string[];
}

/** Reads a scenario and changes it as options say. */
export async function readScenario(file: string, { set, policy }: ScenarioChanges): Promise<unknown> {
  let input = await readJson(file);
  if (policy.length > 0) input = { ...(input as object), policies: policy.map(parsePolicyArgument) };
  for (const assignment of set) input = setPath(input, assignment);
  return input;
}

/** The same, checked and with its files opened. */
export async function openFile(file: string, changes: ScenarioChanges): Promise<OpenedScenario> {
  return openScenario(await readScenario(file, changes), { file });
}
