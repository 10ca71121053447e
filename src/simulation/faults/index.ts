export type { Condition, FaultedPolicy, FaultReport, Recovery } from './fault-report.js';
export { checkFaults, simulateFaults } from './simulate-faults.js';
