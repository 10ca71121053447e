import { caseSchema, type Case } from './measurements.js';

/** A text that is equal for equal cases, whatever the order of their keys. */
export function caseKey(wanted: Case): string {
  return JSON.stringify(caseSchema.parse(wanted));
}

/** One line about a case. */
export function describeCase(wanted: Case): string {
  switch (wanted.op) {
    case 'expert-stage': {
      const { layout, hiddenSize, expertHiddenSize, weightDtype, activationDtype } = wanted;
      return (
        `expert-stage ${layout}, ${hiddenSize} × ${expertHiddenSize}, ${weightDtype} × ${activationDtype}, ` +
        describeCounts(wanted)
      );
    }
    case 'grouped-gemm':
      return (
        `grouped-gemm ${wanted.layout}, ${wanted.inner} → ${wanted.columns}, ${wanted.dtype}, ` +
        describeCounts(wanted)
      );
    case 'permute':
    case 'unpermute':
      return `${wanted.op} ${wanted.tokens} tokens × top ${wanted.topK}, ${wanted.hiddenSize} wide, ${wanted.dtype}`;
    case 'top-k':
      return `top-k ${wanted.tokens} tokens, top ${wanted.topK} of ${wanted.experts}`;
    case 'activation':
      return `activation ${wanted.rows} rows, ${wanted.expertHiddenSize} wide, ${wanted.dtype}`;
    case 'copy':
      return `copy ${wanted.direction}, ${wanted.bytes} bytes`;
    case 'launch':
    case 'host-sync':
      return wanted.op;
    case 'gemm-beside-copy':
      return (
        `gemm-beside-copy ${wanted.rows} rows, ${wanted.inner} → ${wanted.columns}, ${wanted.dtype}, ` +
        `beside ${wanted.bytes} bytes`
      );
  }
}

function describeCounts({ counts, routing }: { counts: readonly number[]; routing: string }): string {
  const rows = counts.reduce((sum, n) => sum + n, 0);
  const active = counts.filter((n) => n > 0).length;
  return `${rows} rows on ${active} of ${counts.length} experts, ${routing}`;
}
