export { FileError } from './file-error.js';
export { exists, locate, readBytes, readJson, readText } from './read.js';
export { readTrace, type OpenedTrace } from './read-trace.js';
export { checkFolder, hashOf, writeFolder, writeWhole } from './write.js';
