/** The parts that are used of packages without types of their own. */
declare module 'jstat' {
  const jstat: {
    studentt: {
      /** The p-quantile of Student's t with `dof` degrees of freedom. */
      inv(p: number, dof: number): number;
    };
    normal: {
      /** The p-quantile of a normal distribution. */
      inv(p: number, mean: number, deviation: number): number;
    };
  };
  export default jstat;
}

/** The generator that is used, without the rest of the package. */
declare module 'seedrandom/lib/alea.js' {
  export default function alea(seed: string): () => number;
}

/**
 * The parts that are used of DuckDB. It is an optional peer and no dependency of development: its packages for some
 * platforms can't be had everywhere, and `npm ci` fails where a lock file names them.
 */
declare module '@duckdb/node-api' {
  interface Connection {
    run(sql: string): Promise<unknown>;
    runAndReadAll(sql: string): Promise<{ deduplicatedColumnNames(): string[]; getRowsJson(): unknown[][] }>;
    closeSync(): void;
  }
  export const DuckDBInstance: {
    create(
      path: string,
      options: Record<string, string>,
    ): Promise<{
      connect(): Promise<Connection>;
      closeSync(): void;
    }>;
  };
}
