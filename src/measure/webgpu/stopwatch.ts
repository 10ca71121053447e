import type { Gpu } from './gpu.js';

/** What the device does: dispatches of one pass, or commands between passes. */
export type Commands =
  { pass: (pass: GPUComputePassEncoder) => void } | { encoder: (encoder: GPUCommandEncoder) => void };

/** Times submissions. */
export interface Stopwatch {
  /** Shortest stretch that it times well, in seconds. */
  resolution: number;
  /** Words for the row; empty where the device's own clock is read. */
  note: string;
  /** Submits the commands, waits for them and returns what they took, in seconds. */
  time(commands: Commands): Promise<number>;
}

/** By the device's clock where it can be read, else by the host's until the queue is empty. */
export function createStopwatch(gpu: Gpu): Stopwatch {
  return gpu.timestamps ? deviceClock(gpu) : hostClock(gpu);
}

function deviceClock(gpu: Gpu): Stopwatch {
  const { device, usage } = gpu;
  const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
  const resolved = device.createBuffer({ size: 16, usage: usage.QUERY_RESOLVE | usage.COPY_SRC });
  const readable = device.createBuffer({ size: 16, usage: usage.MAP_READ | usage.COPY_DST });
  return {
    resolution: 200e-6,
    note: '',
    async time(commands) {
      const encoder = device.createCommandEncoder();
      if ('pass' in commands) {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
        });
        commands.pass(pass);
        pass.end();
      } else {
        // Only passes take timestamps, so empty ones stand before and after
        encoder.beginComputePass({ timestampWrites: { querySet, endOfPassWriteIndex: 0 } }).end();
        commands.encoder(encoder);
        encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 1 } }).end();
      }
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, readable, 0, 16);
      device.queue.submit([encoder.finish()]);
      return gpu.mapped(readable, (bytes) => {
        const [start, end] = new BigInt64Array(bytes);
        return Number(end - start) * 1e-9;
      });
    },
  };
}

function hostClock({ device }: Gpu): Stopwatch {
  return {
    resolution: 20e-3,
    note: ', timed on the host until the queue is empty',
    async time(commands) {
      const encoder = device.createCommandEncoder();
      if ('pass' in commands) {
        const pass = encoder.beginComputePass();
        commands.pass(pass);
        pass.end();
      } else {
        commands.encoder(encoder);
      }
      const finished = encoder.finish();
      const start = performance.now();
      device.queue.submit([finished]);
      await device.queue.onSubmittedWorkDone();
      return (performance.now() - start) * 1e-3;
    },
  };
}
