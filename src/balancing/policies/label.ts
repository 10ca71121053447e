import { kindOf } from '../choice.js';
import { dispatchRules } from '../dispatch/index.js';
import { historyRules } from '../history/index.js';
import { movementRules } from '../movement/index.js';
import { placementRules } from '../placements/index.js';
import { policyOf, type PolicyOptions } from './index.js';

interface Rule {
  kind: string;
  options: { safeParse(input: { kind: string }): { data?: object } };
}

/** Choices among rules, by the option that makes them. */
const choices: Readonly<Record<string, readonly Rule[]>> = {
  placement: placementRules,
  dispatch: dispatchRules,
  movement: movementRules,
  history: historyRules,
};

/**
 * A policy's name, with the options that differ from their defaults: `llep(alpha=1.1)`,
 * `eplb(placement.slots=64, dispatch=lp)`.
 */
export function policyLabel(options: PolicyOptions): string {
  const defaults = policyOf(options).options.parse({ kind: options.kind }) as unknown as Record<
    string,
    unknown
  >;
  const changed = Object.entries(options).flatMap(([key, value]: [string, unknown]) =>
    key in choices
      ? changedChoice(key, value as Choice, defaults[key] as Choice)
      : changedValue(key, value, defaults[key]),
  );
  return changed.length === 0 ? options.kind : `${options.kind}(${changed.join(', ')})`;
}

type Choice = string | ({ kind: string } & Record<string, unknown>) | null;

function changedValue(key: string, value: unknown, usual: unknown): string[] {
  return value === usual ? [] : [`${key}=${String(value)}`];
}

function changedChoice(key: string, choice: Choice, usual: Choice): string[] {
  const [own, other] = [nameOf(choice), nameOf(usual)];
  const name = own === other ? [] : [`${key}=${own}`];
  if (choice === null || typeof choice === 'string') return name;
  const rule = choices[key].find(({ kind }) => kind === own)!;
  const base = own === other && usual !== null && typeof usual !== 'string' ? usual : defaultsOf(rule);
  return [
    ...name,
    ...Object.entries(choice).flatMap(([option, value]) =>
      changedValue(`${key}.${option}`, value, (base as Record<string, unknown>)[option]),
    ),
  ];
}

/** Defaults of a rule's options; nothing where one of them must be given. */
function defaultsOf({ kind, options }: Rule): object {
  return options.safeParse({ kind }).data ?? {};
}

function nameOf(choice: Choice): string {
  return choice === null ? 'null' : kindOf(choice);
}
