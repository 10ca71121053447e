import type { MilpSolver } from '../balancing/index.js';

/** Nodes of the search tree after which the best solution so far stands: a count, so that every machine stops alike. */
const MOST_NODES = 5000;

/** HiGHS, compiled to WebAssembly; loading takes some tens of milliseconds. */
export async function loadMilpSolver(): Promise<MilpSolver> {
  const { default: loaded } = await import('highs');
  // The package declares its types for CommonJS, where the loader would be one `default` deeper than it is.
  const load = loaded as unknown as typeof loaded.default;
  const highs = await load();
  return {
    name: 'HiGHS',
    solve(program) {
      const { Status: status, Columns: columns } = highs.solve(program, {
        mip_max_nodes: MOST_NODES,
        mip_rel_gap: 0,
      });
      const chosen = Object.entries(columns as Record<string, { Primal?: number }>)
        .filter(([, { Primal: value = 0 }]) => value > 0.5)
        .map(([name]) => name);
      return chosen.length === 0 ? null : { chosen, optimal: status === 'Optimal' };
    },
  };
}
