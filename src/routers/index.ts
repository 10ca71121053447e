export { labSchema, RouterLab, type LabOptions, type LabSetting, type RecordedRouter } from './lab.js';
export { objectiveOf, objectives, objectiveSchema, type ObjectiveOptions } from './objectives/index.js';
