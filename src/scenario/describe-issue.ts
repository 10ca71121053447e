import type { z } from 'zod';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** An issue of a value, in words. */
export interface DescribedIssue {
  path: string;
  found: string;
  allowed: string;
}

/**
 * The first thing wrong with `input`, from zod's issues; of a union, the branch that was meant.
 * @param jsonSchema JSON Schema of the same schema, which knows the keys of an object
 */
export function describeIssue(issues: readonly Issue[], input: unknown, jsonSchema: object): DescribedIssue {
  const [issue, before] = innermost(issues[0], [], input);
  const path: Path = [...before, ...issue.path];
  const value = valueAt(input, path);
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0];
    return {
      path: pathText([...path, key]),
      found: `unknown key '${key}'`,
      allowed: keysAt(jsonSchema, path, input).join(', '),
    };
  }
  if (issue.code === 'invalid_union' && 'discriminator' in issue && typeof issue.discriminator === 'string') {
    const at = path[path.length - 1] === issue.discriminator ? path : [...path, issue.discriminator];
    return { path: pathText(at), found: show(valueAt(input, at)), allowed: unionOptions(issue) };
  }
  return { path: pathText(path), found: show(value), allowed: allowedBy(issue) };
}

/** Follows a union into the branch that fits best: the right type, then the deepest first issue. */
function innermost(issue: Issue, before: Path, input: unknown): [Issue, Path] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue, before];
  const path = [...before, ...issue.path];
  const value = valueAt(input, path);
  const ranked = issue.errors
    .filter((errors) => errors.length > 0)
    .map((errors) => ({ errors, rank: branchRank(errors, value) }))
    .sort((a, b) => b.rank - a.rank);
  const best = ranked[0];
  if (best === undefined || best.rank === 0) return [issue, before];
  return innermost(best.errors[0], path, input);
}

/** 0: another type altogether; else the more, the deeper the first issue and the fewer issues there are. */
function branchRank(errors: readonly Issue[], value: unknown): number {
  const first = errors[0];
  const wrongType =
    first.path.length === 0 && (first.code === 'invalid_type' || first.code === 'invalid_value');
  if (wrongType) return 0;
  const named = TAGS.filter((tag) => valueAt(value, [tag]) !== undefined);
  const otherBranch = errors.some((error) =>
    error.code === 'unrecognized_keys'
      ? error.keys.some((key) => named.includes(key))
      : error.path.length === 1 &&
        TAGS.includes(String(error.path[0])) &&
        !named.includes(String(error.path[0])),
  );
  return (otherBranch ? 1 : 2) + first.path.length + 1 / (1 + errors.length);
}

/** Keys that say which branch of a union an object means. */
const TAGS: readonly string[] = ['kind', 'preset'];

function allowedBy(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int' ? 'a whole number' : article(issue.expected);
    case 'invalid_value':
      return issue.values.map((value) => show(value)).join(', ');
    case 'too_small':
      return `${issue.origin === 'string' || issue.origin === 'array' ? 'length ' : 'a number '}${issue.inclusive ? '≥' : '>'} ${issue.minimum}`;
    case 'too_big':
      return `${issue.origin === 'string' || issue.origin === 'array' ? 'length ' : 'a number '}${issue.inclusive ? '≤' : '<'} ${issue.maximum}`;
    case 'invalid_union':
      return issue.errors
        .flatMap((errors) => errors.filter(({ path }) => path.length === 0).map(allowedBy))
        .filter((text, i, all) => all.indexOf(text) === i)
        .join('; or ');
    default:
      return issue.message;
  }
}

function article(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function unionOptions(issue: Issue): string {
  const { options } = issue as { options?: readonly unknown[] };
  return options ? options.map((option) => show(option)).join(', ') : issue.message;
}

/** A node of a JSON Schema, as far as it is read here. */
interface SchemaNode {
  properties?: Record<string, SchemaNode>;
  items?: SchemaNode;
  anyOf?: SchemaNode[];
  oneOf?: SchemaNode[];
  const?: unknown;
}

/** The keys that an object at `path` may have. */
function keysAt(schema: SchemaNode, path: Path, input: unknown): string[] {
  const node = path.reduce<SchemaNode>((at, part, depth) => {
    const branch = objectBranch(at, valueAt(input, path.slice(0, depth)));
    return (typeof part === 'number' ? branch.items : branch.properties?.[String(part)]) ?? {};
  }, schema);
  return Object.keys(objectBranch(node, valueAt(input, path)).properties ?? {});
}

/** Of a union, the branch whose tag the value has; else the one that shares most keys with it. */
function objectBranch(node: SchemaNode, value: unknown): SchemaNode {
  const branches = [...(node.anyOf ?? []), ...(node.oneOf ?? [])].map((branch) =>
    objectBranch(branch, value),
  );
  if (branches.length === 0) return node;
  const shared = (branch: SchemaNode) => {
    const tag = TAGS.find((key) => branch.properties?.[key]?.const !== undefined);
    if (tag !== undefined && branch.properties![tag].const === valueAt(value, [tag])) return Infinity;
    return Object.keys(branch.properties ?? {}).filter((key) => valueAt(value, [key]) !== undefined).length;
  };
  return branches.reduce((best, branch) => (shared(branch) > shared(best) ? branch : best));
}

export function pathText(path: Path): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? String(part) : `.${String(part)}`))
    .join('');
}

export function valueAt(input: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[part] : undefined,
    input,
  );
}

/** A value as a message shows it: short. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
