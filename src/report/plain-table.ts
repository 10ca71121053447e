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

/** Its title, and below it the table, indented. @param columns see `plainTable` */
export function namedText({ title, head, rows }: NamedTable, columns?: number): string {
  return `${title}\n${plainTable(
    head,
    rows.map(([name, ...cells]) => [`  ${name}`, ...cells]),
    columns,
  )}`;
}

/** Share of a narrow window that names may take. */
const NAMES_SHARE = 0.45;

/**
 * A table without lines; the first column is aligned to the left, the others to the right.
 * @param columns of the window; where it is too narrow, columns stand below each other, and long names are cut
 */
export function plainTable(head: string[], rows: string[][], columns = Infinity): string {
  const whole = rendered(head, rows);
  if (widthOf(whole) <= columns) return whole;
  const most = Math.max(16, Math.floor(NAMES_SHARE * columns));
  const isCut = rows.some(([name]) => name.length > most);
  const named = rows.map(([name, ...cells]) => [
    name.length > most ? `${name.slice(0, most - 1)}…` : name,
    ...cells,
  ]);
  const blocks = inBlocks(head, named, columns).map((block) =>
    rendered(
      block.map((column) => head[column]),
      named.map((row) => block.map((column) => row[column])),
    ),
  );
  return [
    ...blocks,
    ...(isCut ? ['  (names cut; a wider window and --format csv have them whole)'] : []),
  ].join('\n');
}

/** Columns that stand beside each other, each time after the first. */
function inBlocks(head: readonly string[], rows: readonly string[][], columns: number): number[][] {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  const blocks: number[][] = [];
  let room = 0;
  for (let column = 1; column < head.length; column++) {
    const needed = widths[column] + 2;
    if (blocks.length === 0 || needed > room) {
      blocks.push([0]);
      room = columns - widths[0];
    }
    blocks.at(-1)!.push(column);
    room -= needed;
  }
  return blocks;
}

function widthOf(text: string): number {
  return Math.max(...text.split('\n').map((line) => line.length));
}

function rendered(head: string[], rows: string[][]): string {
  const table = new Table({
    ...plain,
    head,
    colAligns: ['left', ...head.slice(1).map(() => 'right' as const)],
  });
  table.push(...rows);
  return table.toString().replace(/ +$/gm, '');
}
