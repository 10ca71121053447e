/** Hold model: pop the first of 1,000 pending events, push one a random time later. */
import FlatQueue from 'flatqueue';
import { EventQueue } from '../src/engine/index.js';
import { randomStream } from '../src/routing/index.js';
import { medianSeconds, report } from './measure.js';

const PENDING = 1000;
const EVENTS = 1_000_000;
const which = process.argv[2];

const random = randomStream(1, 'hold');
const delays = Float64Array.from({ length: 1 << 16 }, () => random());

function ours(): () => void {
  const queue = new EventQueue(PENDING);
  for (let i = 0; i < PENDING; i++) queue.push(delays[i], 0, i);
  return () => {
    for (let i = 0; i < EVENTS; i++) {
      queue.pop();
      queue.push(queue.time + delays[i & 0xffff], 0, queue.payload);
    }
  };
}

function flat(): () => void {
  const queue = new FlatQueue<number>();
  for (let i = 0; i < PENDING; i++) queue.push(i, delays[i]);
  return () => {
    for (let i = 0; i < EVENTS; i++) {
      const time = queue.peekValue()!;
      queue.push(queue.pop()!, time + delays[i & 0xffff]);
    }
  };
}

const seconds = medianSeconds(which === 'ours' ? ours() : flat(), 3) / EVENTS;
report({
  name: `event queue, ${which}, hold model with ${PENDING} pending`,
  value: 1e-6 / seconds,
  unit: 'M events/s',
  target: null,
  yardstick: which === 'ours' ? 'flatqueue above (which orders ties at random)' : '',
});
