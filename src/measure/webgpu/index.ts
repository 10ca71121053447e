export { webgpuBackend } from './backend.js';
