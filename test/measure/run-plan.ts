import type { Gpu } from '../../src/measure/webgpu/gpu.js';
import { planOf, shaderDtypeOf, type PlannedCase } from '../../src/measure/webgpu/plans/index.js';
import { prepare } from '../../src/measure/webgpu/prepare.js';
import { readElements } from '../../src/measure/webgpu/read-elements.js';
import { createStopwatch } from '../../src/measure/webgpu/stopwatch.js';

/**
 * All buffers of a case after one call, read from the device.
 * @param along fold dispatches that have more workgroups than this, as a device does with very long ones
 */
export async function runPlan(
  gpu: Gpu,
  wanted: PlannedCase,
  along = Infinity,
): Promise<Record<string, Float64Array>> {
  const plan = planOf(wanted, shaderDtypeOf(wanted)!);
  for (const dispatch of plan.call.kind === 'dispatches' ? plan.call.dispatches : []) {
    const [x, y] = dispatch.workgroups;
    if (x > along && y === 1) dispatch.workgroups = [along, Math.ceil(x / along)];
  }
  const prepared = await prepare(gpu, wanted.op, plan, 0);
  try {
    await gpu.guarded(wanted.op, () =>
      createStopwatch(gpu).time(
        plan.call.kind === 'copy'
          ? { encoder: (encoder) => prepared.copy(encoder, 0) }
          : { pass: (pass) => prepared.dispatch(pass, 0) },
      ),
    );
    const buffers: Record<string, Float64Array> = {};
    for (const [name, { type, elements }] of Object.entries(plan.buffers)) {
      [buffers[name]] = await readElements(gpu, prepared.buffer(name, 0), type, [[0, elements]]);
    }
    return buffers;
  } finally {
    prepared.destroy();
  }
}
