import { modelPresets } from '../model/index.js';
import type { Trace } from '../routing/index.js';
import type { Settings } from './settings.js';

type Header = Trace['header'];

/** Models of the page that a recording could be of. */
export function modelsOf({ experts, topK, layerIds }: Header): string[] {
  return Object.entries(modelPresets)
    .filter(([, own]) => own.experts === experts && own.topK === topK && layerIds.length <= own.moeLayers!)
    .map(([name]) => name);
}

/** Why a recording can't be replayed beside the settings, in words of the page's controls; null: it can. */
export function traceMisfit(header: Header, { model, trace }: Settings): string | null {
  const { kind, experts, topK, layerIds } = header;
  if (kind === 'counts') {
    return `${trace} holds the counts of its own batches; this page replays recordings of tokens. epsim run replays it.`;
  }
  const models = modelsOf(header);
  if (models.includes(model)) return null;
  const way =
    models.length === 0
      ? 'No model of this page does: choose another routing, or give epsim run the shape of the model.'
      : `Choose ${models.join(' or ')} as model, or another routing.`;
  return `${trace} chooses ${topK} of ${experts} experts in ${layerIds.length} layers, unlike ${model}. ${way}`;
}
