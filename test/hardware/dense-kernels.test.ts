import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { attentionSeconds, gpuPresets, productSeconds } from '../../src/hardware/index.js';
import { shared } from '../shared.js';

describe('products and attention by shares of the datasheet', () => {
  const gpu = gpuPresets.h800;

  it('a large product takes its FLOP, a small one its weights, none nothing', () => {
    const large = productSeconds(gpu, 65_536, 8192, 8192, 'bf16');
    expect(large).toBeCloseTo((2 * 65_536 * 8192 * 8192) / (0.7 * 989e12), 4);
    const small = productSeconds(gpu, 1, 8192, 8192, 'fp8');
    expect(small).toBeCloseTo(8e-6 + 8192 ** 2 / (0.8 * 3.35e12), 7);
    expect(productSeconds(gpu, 0, 8192, 8192, 'bf16')).toBe(0);
  });

  it('a GPU without fp8 products multiplies in bf16', () => {
    const { a100 } = gpuPresets;
    const flop = 2 * 65_536 * 8192 * 8192;
    expect(productSeconds(a100, 65_536, 8192, 8192, 'fp8')).toBeGreaterThan(flop / (0.7 * 312e12));
  });

  it('attention in decode is bound by what it reads, in prefill by what it multiplies', () => {
    expect(attentionSeconds(gpu, 'decode', 1e6, 3.35e9)).toBeCloseTo(8e-6 + 1e-3 / 0.9, 9);
    expect(attentionSeconds(gpu, 'prefill', 989e9, 1)).toBeCloseTo(8e-6 + 1e-3 / 0.6, 9);
  });

  it.skipIf(shared === null)('is as far from products measured on an H800 as its comment says', () => {
    const [, ...lines] = readFileSync(`${shared}/data/infersim/gemm/h800/data.csv`, 'utf8')
      .trim()
      .split('\n');
    const errors = lines.map((line) => {
      const [m, k, n, microseconds] = line.split(',').map(Number);
      return Math.abs(productSeconds(gpu, m, k, n, 'fp8') / (microseconds * 1e-6) - 1);
    });
    errors.sort((a, b) => a - b);
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    expect(errors).toHaveLength(110);
    expect(mean).toBeCloseTo(0.14, 2);
    expect(errors[Math.floor(errors.length / 2)]).toBeCloseTo(0.07, 2);
  });
});
