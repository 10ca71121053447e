export { FileError } from './file-error.js';
export { exists, listFiles, locate, readBytes, readJson, readText } from './read.js';
export { openBytes, type OpenFile } from './open-bytes.js';
export { readTrace, type OpenedTrace } from './read-trace.js';
export { checkFolder, hashOf, writeFolder, writeInPieces, writeWhole } from './write.js';
