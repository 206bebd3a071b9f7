/** A plot is data (Vega-Lite) and becomes SVG: no browser, no canvas. */
import type { TopLevelSpec } from 'vega-lite';
import { type Html, html } from './html.ts';

/** What Vega-Lite takes, without what is the same for every plot. */
export type PlotSpec = Omit<TopLevelSpec, '$schema' | 'config'>;

const config = { background: 'white', font: 'sans-serif', axis: { labelFontSize: 11, titleFontSize: 12 } } as const;

/** In the colour of the text around it, light or dark. */
const pageConfig = {
  background: null,
  font: 'system-ui, sans-serif',
  view: { stroke: null },
  title: { color: 'currentColor' },
  axis: {
    ...config.axis,
    ...{
      labelColor: 'currentColor',
      titleColor: 'currentColor',
      tickColor: 'currentColor',
      domainColor: 'currentColor',
    },
    ...{ gridColor: 'currentColor', gridOpacity: 0.15 },
  },
} as const;

/** The plot as the text of an SVG file. */
export async function plotSvg(spec: PlotSpec): Promise<string> {
  return `${await draw(spec, config)}\n`;
}

/**
 * The plot as a part of a page.
 * @param label what it shows, for those who do not see it
 */
export async function plotInPage(spec: PlotSpec, label: string): Promise<Html> {
  const svg = await draw(spec, pageConfig);
  const shape = html`role="img" aria-label="${label}"`;
  // Within HTML an SVG needs no name space.
  return { markup: svg.replaceAll(/ xmlns(:xlink)?="[^"]*"/g, '').replace('<svg', () => `<svg ${shape.markup}`) };
}

async function draw(spec: PlotSpec, common: object): Promise<string> {
  // Loaded here: it is large, and most commands draw nothing.
  const [{ parse, View }, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const $schema = 'https://vega.github.io/schema/vega-lite/v6.json';
  const whole = { $schema, config: common, ...spec } as TopLevelSpec;
  const view = new View(parse(compile(whole).spec), { renderer: 'none' });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
