import { z } from 'zod';

/** A rule that options choose by its `kind`. */
interface Rule {
  kind: string;
  summary: string;
  options: z.ZodType;
}

type InputOf<Rules extends readonly Rule[]> = Rules[number]['kind'] | z.input<Rules[number]['options']>;
type OutputOf<Rules extends readonly Rule[]> = Rules[number]['kind'] | z.output<Rules[number]['options']>;

/** A choice among rules as a scenario writes it: the name of a rule that needs no options, or options with `kind`; each
 * described by its summary. */
export function choiceSchema<const Rules extends readonly Rule[]>(
  rules: Rules,
): z.ZodType<OutputOf<Rules>, InputOf<Rules>> {
  const complete = rules.filter(({ kind, options }) => options.safeParse({ kind }).success);
  const names = complete.map(({ kind }) => kind) as [string, ...string[]];
  const described = rules.map(({ options, summary }) => options.describe(summary));
  return z.union([z.enum(names), z.discriminatedUnion('kind', described as never)]);
}

/** A chosen rule with its parsed options. */
export interface Chosen<R> {
  rule: R;
  options: unknown;
}

/** The name of what is chosen. */
export function kindOf(choice: string | { kind: string }): string {
  return typeof choice === 'string' ? choice : choice.kind;
}

/** The rule of a choice; a bare name stands for its defaults. */
export function chosenOf<R extends Rule>(rules: readonly R[], choice: string | { kind: string }): Chosen<R> {
  const kind = kindOf(choice);
  const rule = rules.find((candidate) => candidate.kind === kind)!;
  return { rule, options: typeof choice === 'string' ? rule.options.parse({ kind }) : choice };
}
