import { describeIssue } from './describe-issue.js';
import { ScenarioError } from './scenario-error.js';
import { scenarioJsonSchema, scenarioSchema, type Scenario } from './schema.js';

/**
 * Checks a scenario and fills in its defaults.
 * @param file name for messages
 * @throws ScenarioError
 */
export function parseScenario(input: unknown, file: string): Scenario {
  const parsed = scenarioSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const { path, found, allowed } = describeIssue(parsed.error.issues, input, scenarioJsonSchema());
  throw new ScenarioError(file, path, found, allowed);
}

/**
 * Sets one value of a scenario, as `--set workload.steps=8` does; makes what is missing on the way.
 * @param assignment path=value, the value as JSON, or as text where it is none
 */
export function setPath(input: unknown, assignment: string): unknown {
  const [, path, text] = /^([^=]+)=(.*)$/s.exec(assignment) ?? [];
  if (path === undefined) {
    throw new ScenarioError('--set', '', `'${assignment}'`, 'path=value, e.g. workload.steps=8');
  }
  const parts = path.split(/\.|\[(\d+)\]\.?/).filter((part) => part !== undefined && part !== '');
  if (parts.some((part) => ['__proto__', 'constructor', 'prototype'].includes(part))) {
    throw new ScenarioError('--set', path, 'a name with a meaning of its own', 'a path of the scenario');
  }
  return withValue(input, parts, parseValue(text));
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function withValue(input: unknown, [part, ...rest]: string[], value: unknown): unknown {
  if (part === undefined) return value;
  if (Array.isArray(input)) {
    const copy: unknown[] = [...(input as unknown[])];
    copy[Number(part)] = withValue(copy[Number(part)], rest, value);
    return copy;
  }
  const object = typeof input === 'object' && input !== null ? (input as Record<string, unknown>) : {};
  return { ...object, [part]: withValue(object[part], rest, value) };
}
