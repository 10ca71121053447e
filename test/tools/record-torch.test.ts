import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readTrace } from '../../src/files/index.js';
import type { TokenTrace } from '../../src/routing/index.js';
import { epsim, root, workFolder } from '../cli/epsim.js';
import { torchPython } from '../measure/torch-python.js';

/** A model of two layers whose routers are tables: token x in layer l has logits known beforehand. */
const MODEL = `
import sys
sys.path.insert(0, ${JSON.stringify(join(root, 'tools'))})
import torch
from torch import nn
from record_torch import RoutingRecorder

class Layer(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.gate = nn.Embedding(10, 4)
        with torch.no_grad():
            for x in range(10):
                self.gate.weight[x] = torch.tensor([float((x + layer + 3 * e) % 4) for e in range(4)])

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer(layer) for layer in range(2))
    def forward(self, tokens):
        for layer in self.layers:
            layer.gate(tokens.reshape(-1))

model, tokens = Model(), torch.tensor([[1, 2, 3], [4, 5, 6]])
mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
`;

function python(folder: string, body: string) {
  const script = join(folder, 'script.py');
  writeFileSync(script, MODEL + body);
  return spawnSync(torchPython!, [script], { cwd: folder, encoding: 'utf8' });
}

describe.skipIf(torchPython === null)('the recorder of PyTorch models', () => {
  it('writes what the routers chose, without padding, as a trace that replays', async () => {
    const folder = workFolder();
    const { status, stderr } = python(
      folder,
      `
with RoutingRecorder(model, "rec", top_k=2, name="tables", phase="prefill", notes=["a note"]) as recorder:
    with recorder.batch(mask, domains=["prose", "code"]):
        model(tokens)
    model(tokens)  # outside a batch: not recorded
`,
    );
    expect([status, stderr]).toEqual([0, '']);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    const { trace } = await readTrace(join(folder, 'rec'), folder);
    const { header, tokens, rows, sequenceStarts, sequenceDomains } = trace as TokenTrace;
    expect(header).toMatchObject({
      model: 'tables',
      experts: 4,
      topK: 2,
      layerIds: [0, 1],
      notes: ['a note'],
    });
    expect([tokens, [...sequenceStarts!], header.domains, [...sequenceDomains!]]).toEqual([
      5,
      [0, 3, 5],
      ['code', 'prose'],
      [1, 0],
    ]);
    const { experts, weights } = rows.block(0);
    // The two largest of (x + layer + 3e) mod 4, and their shares of the softmax over all four.
    const sum = 1 + Math.E + Math.E ** 2 + Math.E ** 3;
    [1, 2, 3, 4, 5].forEach((x, token) => {
      for (let layer = 0; layer < 2; layer++) {
        const logits = [0, 1, 2, 3].map((e) => (x + layer + 3 * e) % 4);
        const at = (token * 2 + layer) * 2;
        expect([...experts.subarray(at, at + 2)]).toEqual([logits.indexOf(3), logits.indexOf(2)]);
        expect(weights![at]).toBeCloseTo(Math.E ** 3 / sum, 6);
        expect(weights![at + 1]).toBeCloseTo(Math.E ** 2 / sum, 6);
      }
    });
    const parts = readdirSync(folder).filter((name) => name.startsWith('rec.'));
    const out = join(folder, 'rec.parquet');
    const imported = epsim(['trace', 'import', ...parts.map((part) => join(folder, part)), '--out', out]);
    expect([imported.status, existsSync(out)]).toEqual([0, true]);
    expect(imported.stderr).toContain('numpy-recording: wrote');
  });

  it('reads routers that return the chosen experts, and their weights', async () => {
    const folder = workFolder();
    const { status, stderr } = python(
      folder,
      `
class Gate(nn.Module):
    def forward(self, tokens):
        chosen = torch.stack([tokens % 8, (tokens + 1) % 8], dim=-1)
        return chosen, torch.full(chosen.shape, 0.26), torch.tensor(0.0)
model.layers[0].gate = model.layers[1].gate = None
model.layers[0].mlp = nn.Module()
gate = Gate()
model.layers[0].mlp.router = gate
model.forward = lambda tokens: gate(tokens)
with RoutingRecorder(model, "rec", top_k=2, experts=8, weight_step=1 / 64) as recorder:
    with recorder.batch(torch.ones(2, 3)):
        model(tokens)
`,
    );
    expect([status, stderr]).toEqual([0, '']);
    const { trace } = await readTrace(join(folder, 'rec'), folder);
    const { experts, weights } = (trace as TokenTrace).rows.block(0);
    expect([...experts].slice(0, 4)).toEqual([1, 2, 2, 3]);
    // 0.26 is nearest to 17/64.
    expect(new Set(weights)).toEqual(new Set([17 / 64]));
    expect(trace.header.experts).toBe(8);
  });

  it.each([
    ['no router', 'RoutingRecorder(model, "rec", top_k=2, routers="moe")', 'found no module that matches'],
    [
      'a pass of other tokens',
      `
with RoutingRecorder(model, "rec", top_k=2) as recorder:
    with recorder.batch(torch.ones(2, 2)):
        model(tokens)`,
      'found 6 tokens, allowed: the 4 of the whole sequences',
    ],
    [
      'an output without logits',
      `
with RoutingRecorder(model, "rec", top_k=5) as recorder:
    with recorder.batch(mask):
        model(tokens)`,
      "a router's output: found (6, 4), allowed: logits, or chosen experts",
    ],
    [
      'nothing recorded',
      `
with RoutingRecorder(model, "rec", top_k=2) as recorder:
    pass`,
      'found no token, allowed: at least one batch',
    ],
  ])('refuses %s, and leaves no file', (_, body, message) => {
    const folder = workFolder();
    const { status, stderr } = python(folder, body);
    expect(status).toBe(1);
    expect(stderr).toContain(message);
    expect(readdirSync(folder)).toEqual(['script.py']);
  });
});
