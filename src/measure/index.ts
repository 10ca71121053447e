export { BackendError, type Backend, type Effort, type OpenDevice } from './backend.js';
