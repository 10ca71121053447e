export { MissingPackageError, queryTable, type QueryResult } from './query-table.js';
export { readTable } from './read-table.js';
export { FileCache, type SharedFiles } from './file-cache.js';
export { FileError } from './file-error.js';
export { exists, readJson, readText } from './read.js';
export { readTrace } from './read-trace.js';
export { SweepFolder } from './sweep-folder.js';
export { checkFolder, hashOf, writeFolder, writeWhole } from './write.js';
export { writeTable } from './write-table.js';
