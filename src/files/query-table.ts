import { FileError } from './file-error.js';

/** Version that epsim was tested with. */
const TESTED = '1.5.6-r.1';

/** An optional package that is not installed, with what installs it. */
export class MissingPackageError extends Error {
  override name = 'MissingPackageError';
}

/** What a query found. */
export interface QueryResult {
  columns: string[];
  /** Values as JSON holds them, row by row. */
  rows: unknown[][];
}

/**
 * Asks a Parquet file in SQL; it stands there as the table `points`. DuckDB runs in this process and in memory,
 * and neither loads nor installs extensions.
 * @throws FileError where the query is wrong; MissingPackageError where DuckDB is not installed
 */
export async function queryTable(path: string, sql: string): Promise<QueryResult> {
  const { DuckDBInstance } = await loadDuckDb();
  const instance = await DuckDBInstance.create(':memory:', {
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  });
  const connection = await instance.connect();
  try {
    await connection.run(`CREATE VIEW points AS SELECT * FROM read_parquet('${path.replaceAll("'", "''")}')`);
    const reader = await connection.runAndReadAll(sql);
    return { columns: reader.deduplicatedColumnNames(), rows: reader.getRowsJson() };
  } catch (error) {
    throw new FileError(`query: ${(error as Error).message}`);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

async function loadDuckDb(): Promise<typeof import('@duckdb/node-api')> {
  try {
    return await import('@duckdb/node-api');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_MODULE_NOT_FOUND') {
      throw new MissingPackageError(
        `the optional package @duckdb/node-api is not installed: npm install @duckdb/node-api@${TESTED}`,
      );
    }
    throw new MissingPackageError(`the package @duckdb/node-api does not load on this machine: ${message}`);
  }
}
