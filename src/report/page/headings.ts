/**
 * Names for a picture: none longer than there is room for, and no two alike. Of a policy's options those that all
 * policies of its kind share go first, and what they are options of (`history.interval` → `interval`); what is still too
 * long is cut off, and numbered where it is not alone.
 * @param names each once
 * @param most characters
 */
export function headingsOf(names: readonly string[], most: number): string[] {
  const parsed = names.map(parse);
  const short = names.map((name, i) => (name.length <= most ? name : withoutShared(parsed[i], parsed)));
  return short.map((name, i) => {
    const isAlone = short.every((other, j) => j === i || cut(other, most) !== cut(name, most));
    return isAlone ? cut(name, most) : cut(name, most, ` #${i + 1}`);
  });
}

/** "kind(a=1, b=2) (anchor)". */
interface ParsedName {
  kind: string;
  options: string[];
  rest: string;
}

function parse(name: string): ParsedName {
  const open = name.indexOf('(');
  const close = name.lastIndexOf(
    ')',
    name.endsWith(' (anchor)') ? name.length - ' (anchor)'.length : undefined,
  );
  if (open < 0 || close < open) return { kind: name, options: [], rest: '' };
  return {
    kind: name.slice(0, open),
    options: name.slice(open + 1, close).split(', '),
    rest: name.slice(close + 1),
  };
}

function withoutShared(own: ParsedName, all: readonly ParsedName[]): string {
  const rivals = all.filter((other) => other !== own && other.kind === own.kind);
  const { kind, options, rest } = own;
  const differing =
    rivals.length === 0
      ? options
      : options.filter((option) => rivals.some((rival) => !rival.options.includes(option)));
  const named = differing.map((option) => option.replace(/^[^=]*\./, ''));
  const left = named.length < options.length ? [...named, '…'] : named;
  return `${kind}${left.length > 0 ? `(${left.join(', ')})` : ''}${rest}`;
}

function cut(name: string, most: number, end = ''): string {
  const room = most - end.length;
  return `${name.length <= room ? name : `${name.slice(0, room - 1)}…`}${end}`;
}
