import { policyOf } from './balancing/index.js';
import { BatchTraceWriter, type ByteSink, type LayerBatch, type TraceHeader } from './routing/index.js';
import type { OpenedScenario } from './run.js';
import { ScenarioError } from './scenario/index.js';

/**
 * A scenario's routing as a native trace: what its policies would calibrate on as the marked part, then every
 * step. Replayed with batching `recorded` under the same scenario, it gives the same results.
 * Where scores of more experts than the chosen ones are known, all of them are recorded.
 * @throws ScenarioError where the scenario prunes it
 */
export function recordTrace({ file, scenario, resolved }: OpenedScenario, sink: ByteSink): TraceHeader {
  if (scenario.workload.pruning !== undefined) {
    throw new ScenarioError(
      file,
      'workload.pruning',
      scenario.workload.pruning.kind,
      'nothing: a trace holds what the router chose, and its replay can prune it',
    );
  }
  const { source, machine, policies } = resolved;
  const { phase } = scenario.workload;
  const header: TraceHeader = {
    schema: 'epsim/trace@1',
    kind: source.hasTokens ? 'tokens' : 'counts',
    model: machine.shape.name,
    experts: source.experts,
    topK: source.candidates ?? source.topK,
    layerIds: [...source.layerIds],
    // A recording is of what a model reads or writes; a training reads as a prefill does.
    phase: phase === 'training' ? 'prefill' : phase,
    gpus: source.gpus,
    steps: source.steps,
    source: `epsim trace record: ${scenario.name ?? 'a scenario'}, ${scenario.workload.routing.kind}`,
    licence: '',
    importance: source.importance?.map((layer) => [...layer]),
    notes: [...source.notes],
  };
  const writer = new BatchTraceWriter(header, source.hasGateWeights, sink);
  const share = Math.max(...policies.map(({ options }) => policyOf(options).calibrationShare(options)));
  if (share > 0) writer.add(0, source.calibration(share).layers.map(withCandidates), true);
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    writer.add(step.step, step.layers.map(withCandidates));
  }
  writer.finish();
  return header;
}

/** A batch whose tokens choose all their candidates. */
function withCandidates(batch: LayerBatch): LayerBatch {
  const { tokens } = batch;
  if (!tokens?.candidates) return batch;
  const { experts, scores, count } = tokens.candidates;
  return { ...batch, tokens: { ...tokens, topK: count, experts, weights: scores } };
}
