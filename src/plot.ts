/** A plot is data (Vega-Lite) and becomes SVG: no browser, no canvas. */
import type { TopLevelSpec } from 'vega-lite';

/** What Vega-Lite takes, without what is the same for every plot. */
export type PlotSpec = Omit<TopLevelSpec, '$schema' | 'config'>;

const config = { background: 'white', font: 'sans-serif', axis: { labelFontSize: 11, titleFontSize: 12 } } as const;

/** The plot as the text of an SVG file. */
export async function plotSvg(spec: PlotSpec): Promise<string> {
  // Loaded here: it is large, and most commands draw nothing.
  const [{ parse, View }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const $schema = 'https://vega.github.io/schema/vega-lite/v6.json';
  const whole = { $schema, config, ...spec } as TopLevelSpec;
  const view = new View(parse(compile(whole).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}
