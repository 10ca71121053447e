export { fromAddress, toAddress } from './address.js';
export { scenarioOf } from './scenario-of.js';
export { initialSettings, type Settings } from './settings.js';
export { simulateSettings } from './simulate-settings.js';
