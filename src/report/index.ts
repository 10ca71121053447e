export { comparison } from './comparison.js';
export { diffResults } from './diff.js';
export { profileText } from './profile.js';
export { gateTable } from './gates.js';
export { parseResult } from './parse-result.js';
export { resultCsv, stepsCsv } from './rows.js';
export { resultTable } from './table.js';
export { formatBytes, formatFactor, formatSeconds, formatSecondsRange, formatShare } from './units.js';
export { verdict } from './verdict.js';
