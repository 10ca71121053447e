#!/usr/bin/env bash
# Packs the project, installs the tarball in an empty folder and tries there what a user of the package would:
# the command, the scenarios and the schema that it ships, and the library with its types.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cd "$project"
tarball=$(npm pack --silent --pack-destination "$place")

cd "$place"
echo '{ "name": "pack-check", "private": true, "type": "module" }' >package.json
npm install --silent --no-audit --no-fund "./$tarball"
shipped=node_modules/epsim
npx --no-install epsim --version
npx --no-install epsim init my-scenario.json
npx --no-install epsim run my-scenario.json --set workload.steps=2 >/dev/null
npx --no-install epsim run "$shipped/scenarios/quickstart.json" --set resamples=0 | tail -n 1
test -f "$shipped/schema/scenario.schema.json"
test -f "$shipped/docs/architecture.md"
npx --no-install epsim web --out playground
test -s playground/index.html
npx --no-install epsim calibrate measure --backend torch --list | tail -n 1
if [ -n "${EPSIM_PYTHON:-}" ]; then
  npx --no-install epsim calibrate measure --backend torch --plan tiny --out measured.json
fi

cat >try.mts <<'TYPESCRIPT'
import { planLayer, run } from 'epsim';
const { gpuLoads } = await planLayer(
  { kind: 'llep', minTokensPerGemm: 2 },
  { gpus: 4, experts: 8, loads: [60, 4, 8, 8, 4, 4, 6, 6] },
);
const { policies } = await run({
  model: 'gpt-oss-20b',
  cluster: { gpu: 'h200', gpus: 8 },
  workload: { phase: 'prefill', tokensPerGpu: 512, steps: 2, routing: { kind: 'log-normal', sigma: 1 } },
  policies: ['ep', 'llep'],
});
const speedup: number | undefined = policies.find(({ policy }) => policy.kind === 'llep')?.speedup.mean;
if (gpuLoads.join() !== '25,25,25,25' || speedup === undefined) throw new Error(`${gpuLoads.join()}; ${speedup}`);
TYPESCRIPT
"$project/node_modules/.bin/tsc" --strict --skipLibCheck --module nodenext --target es2023 --outDir . try.mts
node try.mjs
echo "the package works in an empty folder"
