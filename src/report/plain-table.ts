import Table from 'cli-table3';

const plain = {
  chars: {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  },
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
};

/** A table with its title; the first column names the rows. */
export interface NamedTable {
  title: string;
  head: string[];
  rows: string[][];
}

/** Its title, and below it the table, indented. */
export function namedText({ title, head, rows }: NamedTable): string {
  return `${title}\n${plainTable(
    head,
    rows.map(([name, ...cells]) => [`  ${name}`, ...cells]),
  )}`;
}

/** A table without lines; the first column is aligned to the left, the others to the right. */
export function plainTable(head: string[], rows: string[][]): string {
  const table = new Table({
    ...plain,
    head,
    colAligns: ['left', ...head.slice(1).map(() => 'right' as const)],
  });
  table.push(...rows);
  return table.toString().replace(/ +$/gm, '');
}
