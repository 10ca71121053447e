export { FileCache, type SharedFiles } from './file-cache.js';
export { FileError } from './file-error.js';
export { exists, readJson, readText } from './read.js';
export { readTrace } from './read-trace.js';
export { SweepFolder } from './sweep-folder.js';
export { checkFolder, hashOf, writeFolder, writeWhole } from './write.js';
export { writeTable } from './write-table.js';
