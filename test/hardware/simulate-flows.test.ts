import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { simulateFlows, type Flow, type FlowPlatform } from '../../src/hardware/simulate-flows.js';

interface NetworkCase {
  name: string;
  platform: FlowPlatform;
  flows: (Flow & { finish: number })[];
}

const oracle = JSON.parse(readFileSync(new URL('../oracles/network.json', import.meta.url), 'utf8')) as {
  cases: NetworkCase[];
};

describe('simulateFlows equals two independent max-min solvers to 1e-6 relative', () => {
  it.each(oracle.cases.map((c) => [c.name, c] as const))('%s', (_, { platform, flows }) => {
    const finish = simulateFlows(platform, flows);
    flows.forEach((flow, i) => {
      expect(Math.abs(finish[i] - flow.finish)).toBeLessThanOrEqual(1e-6 * flow.finish);
    });
  });
});
