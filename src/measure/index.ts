export { BackendError, CaseRefused, type Backend, type Effort, type OpenDevice } from './backend.js';
export { BACKEND_NAMES, backendOf, type BackendOptions } from './backends.js';
export { measure, type MeasureOutcome, type MeasureSetting } from './measure.js';
