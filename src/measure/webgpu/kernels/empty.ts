import type { Kernel } from './kernel.js';

/** Does nothing: what its launch takes is the launch. */
export const emptyKernel: Kernel = {
  name: 'empty WGSL kernel',
  code: '@compute @workgroup_size(1) fn main() {}\n',
};
