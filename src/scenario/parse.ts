import { z } from 'zod';
import { clusterPresets, gpuPresets } from '../hardware/index.js';
import { modelPresets } from '../model/index.js';
import { describeIssue, pathText, show } from './describe-issue.js';
import { ScenarioError } from './scenario-error.js';
import { defaultRuntime, policySchema, scenarioJsonSchema, scenarioSchema, type Scenario } from './schema.js';

/**
 * Checks a scenario and fills in its defaults.
 * @param file name for messages
 * @throws ScenarioError
 */
export function parseScenario(input: unknown, file: string): Scenario {
  const parsed = parseInput(scenarioSchema, input, file, scenarioJsonSchema);
  // In one place whether it is given or not: the order of keys is part of a result's hash.
  const { runtime, ...scenario } = parsed;
  return { ...scenario, runtime: runtime ?? defaultRuntime(parsed) };
}

/**
 * Checks a policy as a scenario lists it.
 * @param file name for messages
 * @throws ScenarioError
 */
export function parsePolicy(input: unknown, file: string): z.output<typeof policySchema> {
  return parseInput(policySchema, input, file);
}

/**
 * Checks what a file (or an option) holds against a schema.
 * @param file name for messages
 * @param jsonSchema the schema as JSON Schema, where it is not plainly that
 * @throws ScenarioError
 */
export function parseInput<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
  file: string,
  jsonSchema: () => object = () => z.toJSONSchema(schema, { io: 'input' }),
): z.output<Schema> {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const { path, found, allowed } = describeIssue(parsed.error.issues, input, jsonSchema());
  throw new ScenarioError(file, path, found, allowed);
}

/**
 * Sets one value of a scenario, as `--set workload.steps=8` does; makes what is missing on the way, and of a
 * preset's name on the way the object that it stands for.
 * @param assignment path=value, the value as JSON, or as text where it is none
 */
export function setPath(input: unknown, assignment: string): unknown {
  const [, path, text] = /^([^=]+)=(.*)$/s.exec(assignment) ?? [];
  if (path === undefined) {
    throw new ScenarioError('--set', '', `'${assignment}'`, 'path=value, e.g. workload.steps=8');
  }
  return setValue(input, parsePath(path, '--set'), parseValue(text), '--set');
}

/**
 * Takes a path of a scenario apart: `policies[1].alpha`, `policies.1.alpha` or, as a JSON pointer (RFC 6901),
 * `/policies/1/alpha`.
 * @param where what messages name as the place of the path
 * @throws ScenarioError
 */
export function parsePath(path: string, where: string): string[] {
  const parts = path.startsWith('/')
    ? path
        .slice(1)
        .split('/')
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    : path.split(/\.|\[(\d+)\]\.?/).filter((part) => part !== undefined && part !== '');
  if (parts.some((part) => ['__proto__', 'constructor', 'prototype'].includes(part))) {
    throw new ScenarioError(where, path, 'a name with a meaning of its own', 'a path of the scenario');
  }
  return parts;
}

/**
 * A copy of a scenario with one value set; what `setPath` does, of a path in parts.
 * @param where what messages name as the place of the path
 * @throws ScenarioError
 */
export function setValue(input: unknown, path: readonly string[], value: unknown, where: string): unknown {
  return withValue(input, { where, before: [] }, path, value);
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** How a value was reached, for messages. */
interface Way {
  where: string;
  before: readonly string[];
}

function withValue(input: unknown, way: Way, [part, ...rest]: readonly string[], value: unknown): unknown {
  if (part === undefined) return value;
  const inside: Way = { ...way, before: [...way.before, part] };
  if (Array.isArray(input)) {
    const index = Number(part);
    if (!(Number.isInteger(index) && index <= input.length)) {
      throw new ScenarioError(
        way.where,
        textOf(inside.before),
        `no item ${part}`,
        `an index from 0 to ${input.length}`,
      );
    }
    const copy: unknown[] = [...(input as unknown[])];
    copy[index] = withValue(copy[index], inside, rest, value);
    return copy;
  }
  const object = asObject(input, way);
  return { ...object, [part]: withValue(object[part], inside, rest, value) };
}

/**
 * What a value is set inside of: an object as it is, what is missing as an empty one, and a preset's name as
 * the object that it stands for.
 */
function asObject(input: unknown, { where, before }: Way): Record<string, unknown> {
  if (typeof input === 'object' && input !== null) return input as Record<string, unknown>;
  if (input === undefined || input === null) return {};
  const promoted = typeof input === 'string' ? promote(input, before) : undefined;
  if (promoted !== undefined) return { ...promoted };
  throw new ScenarioError(
    where,
    textOf(before),
    show(input),
    "an object, or a preset's name, to set a value in",
  );
}

/** The object that a string at `path` is short for; undefined where it is none. */
function promote(name: string, path: readonly string[]): object | undefined {
  switch (path.join('.').replace(/\.\d+$/, '')) {
    case 'model':
      return name in modelPresets ? { preset: name } : undefined;
    case 'runtime':
      return { preset: name };
    case 'cluster':
      return clusterPresets[name];
    case 'cluster.gpu':
      return gpuPresets[name];
    case 'policies':
      return { kind: name };
    default:
      return undefined;
  }
}

function textOf(path: readonly string[]): string {
  return pathText(path.map((part) => (/^\d+$/.test(part) ? Number(part) : part)));
}
