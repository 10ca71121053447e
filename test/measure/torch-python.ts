import { spawnSync } from 'node:child_process';

const candidates = process.env.EPSIM_PYTHON ? [process.env.EPSIM_PYTHON] : ['python3', '/usr/bin/python3'];

/** A Python that has PyTorch; null where there is none. */
export const torchPython: string | null =
  candidates.find((python) => spawnSync(python, ['-c', 'import torch']).status === 0) ?? null;

if (torchPython === null) {
  const message = `no PyTorch for ${candidates.join(' or ')} (EPSIM_PYTHON says where else): tests with it are left out`;
  if (process.env.EPSIM_REQUIRE_TORCH === '1') throw new Error(message);
  console.warn(message);
}
