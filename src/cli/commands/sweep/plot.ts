import { Command, Option } from '@commander-js/extra-typings';
import { readTable, writeWhole } from '../../../files/index.js';
import {
  chartKinds,
  chartPage,
  chartPicture,
  groupRows,
  sweepColumns,
  type TableRow,
} from '../../../report/index.js';
import { describeSweep } from '../../../open-sweep.js';
import { UsageError } from '../../input-error.js';

const collect = (value: string, before: string[]) => [...before, value];

export function plotCommand() {
  return new Command('plot')
    .description("draw a finished sweep's table")
    .argument('<folder>', "the sweep's folder")
    .addOption(
      new Option('--kind <kind>', chartKinds.map(({ kind, summary }) => `${kind}: ${summary}`).join('; '))
        .choices(chartKinds.map(({ kind }) => kind))
        .makeOptionMandatory(),
    )
    .option('--x <column>', 'what runs to the right')
    .option('--y <column>', 'what runs upwards')
    .option('--value <column>', 'what is shown, as a mean over seeds', 'speedup')
    .option('--policy <kind>', 'only rows of this policy')
    .option('--where <column=value>', 'only rows with this value (repeatable)', collect, [])
    .option('--log', 'axes that rise by ratios')
    .option('--title <text>', "default: the sweep's name")
    .requiredOption('--out <file>', 'the picture: .svg, or .html with its numbers')
    .action(async (path, options) => {
      const { kind, out, policy } = options;
      if (!/\.(svg|html)$/.test(out))
        throw new UsageError(`--out: found ${out}, allowed: a file .svg or .html`);
      const { manifest, points, folder } = await describeSweep(path);
      const chart = chartKinds.find((known) => known.kind === kind)!;
      const pareto = kind === 'pareto';
      const where = Object.fromEntries(options.where.map(assignment));
      if (policy !== undefined) where.policy_kind = policy;
      const asked = {
        subtitle: subtitleOf(where),
        title: options.title ?? manifest.name,
        x: options.x ?? (pareto ? 'step_mean_s' : missing('--x', points.places)),
        y: options.y ?? (pareto ? 'peak_memory_bytes' : null),
        value: options.value,
        log: options.log ?? false,
      };
      const places = points.places.filter(({ column }) => column !== 'seed');
      const swept = places.map(({ column }) => column);
      const shown = chart.shown(asked, places);
      const columns = [
        ...swept,
        'seed',
        'policy_kind',
        'policy_index',
        'anchor',
        ...shown,
        ...Object.keys(where),
      ];
      const file = folder.table.parquet;
      const rows = (await readTable(file, [...new Set([...columns, ...chart.columns(asked)])])) as TableRow[];
      // Anchors are yardsticks, shown only where they are asked for
      const wanted = rows.filter(
        (row) => row.policy_kind !== null && (policy !== undefined || row.anchor !== true),
      );
      const drawn = chart.draw(
        groupRows(
          wanted,
          {
            swept,
            shown,
            needed: chart.columns(asked),
            columns: sweepColumns(points.places).map(({ name }) => name),
            where,
          },
          file,
        ),
        asked,
      );
      await writeWhole(out, out.endsWith('.svg') ? await chartPicture(drawn) : await chartPage(drawn));
      console.error(`wrote ${out}`);
    });
}

/** What is held, in words. */
function subtitleOf(where: Record<string, string>): string {
  return Object.entries(where)
    .map(([column, value]) => `${column.replace('policy_kind', 'policy')} = ${value}`)
    .join(', ');
}

function missing(option: string, places: readonly { column: string }[]): never {
  throw new UsageError(`${option}: found nothing, allowed: ${places.map(({ column }) => column).join(', ')}`);
}

function assignment(text: string): [string, string] {
  const [, column, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (column !== undefined) return [column, value];
  throw new UsageError(`--where: found '${text}', allowed: column=value`);
}
