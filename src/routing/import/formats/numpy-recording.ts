import { readRecording, RECORDING_PARTS, type RecordingParts } from '../../trace/npy.js';
import { phases, TraceError } from '../../trace/trace.js';
import { CountSteps } from '../count-steps.js';
import type { TraceFormat } from '../format.js';
import { checkSize, MOST_ARRAY_BYTES } from '../limits.js';

const PART = new RegExp(`^(.*)\\.(${RECORDING_PARTS.join('|').replaceAll('.', '\\.')})$`);

/** A recording in numpy files, as a scenario replays it too: NAME.experts.npy and so on. */
export const numpyRecording: TraceFormat = {
  name: 'numpy-recording',
  summary:
    'numpy files with a common prefix: NAME.experts.npy, NAME.meta.json … (as tools/record_torch.py writes)',
  detects: (files) => files.some(({ name }) => name.endsWith('.meta.json') && PART.test(name)),
  async read(job) {
    const parts: RecordingParts = {};
    let prefix: string | null = null;
    for (const file of job.files) {
      const [, own, part] = PART.exec(file.name) ?? [];
      if (part === undefined) continue;
      prefix ??= own;
      if (own !== prefix)
        throw new TraceError('', `parts of ${prefix} and of ${own}`, 'one recording at a time');
      checkSize(file.name, file.byteLength, MOST_ARRAY_BYTES);
      const bytes = await file.read(0, file.byteLength);
      parts[part as keyof RecordingParts] = bytes.buffer;
    }
    const trace = await readRecording(parts, job.options.topK);
    const { experts, topK, layerIds, model, phase, domains, notes, licence, source } = trace.header;
    for (const note of notes) job.note(note);
    const known = {
      experts: job.experts(experts),
      topK: job.topK(topK, experts),
      layerIds,
      model,
      phase,
      licence,
      source: source === '' ? undefined : source,
    };
    if (trace.kind === 'counts') {
      const steps = new CountSteps(job, known);
      for (const { layers } of trace.steps) steps.add('', layers);
      return steps.finish();
    }
    const { rows, sequenceStarts, sequenceDomains, tokens } = trace;
    const open = job.tokens(
      { ...known, domains },
      {
        batches: false,
        sequences: sequenceStarts !== null,
        domains: sequenceDomains !== null,
        phases: trace.phase !== null,
        padding: trace.padding !== null,
        weights: rows.hasWeights,
      },
    );
    const perToken = layerIds.length * topK;
    let sequence = 0;
    const block = rows.block(0);
    for (let token = 0; token < tokens; token++) {
      while (sequenceStarts && token >= sequenceStarts[sequence + 1]) sequence++;
      open.writer.add(
        {
          sequence,
          domain: sequenceDomains?.[sequence],
          phase: trace.phase ? phases[trace.phase[token]] : undefined,
          padding: trace.padding?.[token] === 1,
        },
        block.experts,
        block.weights,
        token * perToken,
      );
    }
    return open.finish({});
  },
};
