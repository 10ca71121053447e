import { randomNormal } from 'd3-random';
import { describe, expect, it } from 'vitest';
import type { Pass } from '../../src/routers/mixture.js';
import { objectiveSchema } from '../../src/routers/objectives/index.js';
import { startTraining } from '../../src/routers/train.js';
import { World } from '../../src/routers/world.js';
import { randomStream } from '../../src/routing/index.js';

const world = new World(
  {
    dimension: 12,
    clusters: 40,
    commonMean: 0.5,
    gain: 1,
    topics: 4,
    sequenceTokens: 8,
    nodes: 2,
    locality: 0.8,
  },
  3,
);
const shape = { experts: 8, topK: 2 };
const STEP = 1e-5;

// Every loss is one that the central differences can see: its weight is large beside the task's.
const cases = [
  { kind: 'none' },
  { kind: 'switch', alpha: 0.5 },
  { kind: 'z-loss', coefficient: 0.3 },
  { kind: 'simbal', beta: 0.2 },
  { kind: 'loss-free', gate: 'sigmoid' },
  { kind: 'alf-lb', gate: 'softmax' },
  { kind: 'lpr', coefficient: 1, divergence: 0.5, align: 0.5 },
  { kind: 'lpr', coefficient: 0 },
  { kind: 'locmoe', alpha: 0, mu: 0.5 },
];

describe('gradients equal central differences, the choices of experts kept', () => {
  it.each(cases)('$kind %#', (input) => {
    const objective = objectiveSchema.parse(input);
    const { mixture, training } = startTraining(world, objective, shape, 11);
    // Off the kinks at which a fresh simbal stands: there RᵀR is I, and ‖RᵀR − I‖₁ has no gradient.
    const shake = randomNormal.source(randomStream(5, 'shake'))(0, 0.05);
    for (const { values } of mixture.parameters) for (let i = 0; i < values.length; i++) values[i] += shake();
    const batch = world.draw(6, randomStream(7, 'batch'));
    const loss = (frozen?: Pass) => {
      const pass = mixture.forward(batch, training.bias, true, frozen);
      return { pass, loss: pass.taskLoss + training.add(pass, randomStream(9, 'noise')) };
    };
    const { pass } = loss();
    for (const { gradient } of mixture.parameters) gradient.fill(0);
    const again = loss(pass).pass;
    mixture.backward(again);
    const analytic = mixture.parameters.map(({ gradient }) => gradient.slice());
    const pick = randomStream(13, 'entries');
    mixture.parameters.forEach(({ name, values }, p) => {
      const largest = Math.max(...analytic[p].map(Math.abs));
      expect(largest, name).toBeGreaterThan(0);
      for (let sample = 0; sample < 25; sample++) {
        const i = Math.floor(pick() * values.length);
        const before = values[i];
        values[i] = before + STEP;
        const above = loss(pass).loss;
        values[i] = before - STEP;
        const below = loss(pass).loss;
        values[i] = before;
        const numeric = (above - below) / (2 * STEP);
        expect(Math.abs(numeric - analytic[p][i]), `${name}[${i}]`).toBeLessThan(
          1e-4 * Math.max(Math.abs(numeric), 1e-3 * largest) + 1e-9,
        );
      }
    });
  });
});
