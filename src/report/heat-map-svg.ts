import type { Inspection } from '../inspection/index.js';

/** The heat map of loads as an SVG: layers × experts, load over the layer's mean. */
export async function heatMapSvg({ heat, trace }: Inspection): Promise<string> {
  // Loaded only when it is drawn with, since it takes longer to load than an inspection.
  const [{ compile }, vega] = await Promise.all([import('vega-lite'), import('vega')]);
  const { layerIds, experts, model } = trace;
  const values = heat.flatMap((loads, layer) =>
    loads.map((load, expert) => ({ layer: layerIds[layer], expert, load: Number(load.toFixed(4)) })),
  );
  const { spec } = compile({
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: `Load of every expert over its layer's mean`, subtitle: model },
    width: Math.max(320, Math.min(1280, experts * 12)),
    height: Math.max(80, layerIds.length * 12),
    data: { values },
    mark: { type: 'rect', tooltip: true },
    encoding: {
      x: { field: 'expert', type: 'ordinal', axis: { title: 'expert', labelOverlap: true, labelAngle: 0 } },
      y: { field: 'layer', type: 'ordinal', axis: { title: 'layer', labelOverlap: true } },
      color: {
        field: 'load',
        type: 'quantitative',
        // Even load is the middle of the colours, so that idle and hot experts are told apart.
        scale: { scheme: 'blueorange', domainMid: 1 },
        legend: { title: 'load / mean' },
      },
    },
  });
  return new vega.View(vega.parse(spec), { renderer: 'none' }).toSVG();
}
