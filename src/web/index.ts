export { fromAddress, initialSettings, scenarioOf, toAddress, type Settings } from './settings.js';
export { simulateSettings } from './simulate-settings.js';
