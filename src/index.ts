export { simulateFlows } from './hardware/simulate-flows.js';
