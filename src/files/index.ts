export { FileError } from './file-error.js';
export { exists, locate, readBytes, readJson, readText } from './read.js';
export { readTrace, type OpenedTrace } from './read-trace.js';
export { hashOf, writeFolder, writeWhole } from './write.js';
