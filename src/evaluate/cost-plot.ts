/** The paper's Fig. 4 for any model: what each format costs altogether, over the number of uses. */
import { plotSvg } from '../plot.ts';
import { cheapestFormats, type KnowledgeCosts, knowledgeFormats } from './cost.ts';

const titles = {
  implicit: 'implicit (parameters)',
  explicit: 'explicit (memory)',
  external: 'external (text)',
} as const;
/** Okabe and Ito's, which the colour-blind can tell apart. */
const colours = ['#000000', '#0072b2', '#d55e00'];
const points = 160;

/**
 * write + n * read over n, both axes logarithmic, with a rule at each number of uses where the cheapest format changes.
 * @returns the text of an SVG file
 */
export async function costPlot(title: string, costs: KnowledgeCosts): Promise<string> {
  const crossovers = cheapestFormats(costs).flatMap(({ from }) => (from > 0 ? [from] : []));
  // Two powers of ten around the crossovers, and one use in any case.
  const low = Math.floor(Math.log10(Math.min(1, ...crossovers))) - 1;
  const high = Math.ceil(Math.log10(Math.max(1, ...crossovers))) + 1;
  const uses = Array.from({ length: points + 1 }, (_, i) => 10 ** (low + ((high - low) * i) / points));
  const values = knowledgeFormats.flatMap((format) =>
    uses.map((n) => ({ format: titles[format], n, teraflops: (costs[format].write + n * costs[format].read) / 1e12 })),
  );
  const x = { field: 'n', type: 'quantitative', title: 'number of uses n', scale: { type: 'log', nice: false } };
  const colour = {
    field: 'format',
    type: 'nominal',
    title: null,
    scale: { domain: Object.values(titles), range: colours },
    legend: { orient: 'top', labelLimit: 0 },
  };
  const rules = crossovers.map((n) => ({ n, label: `n = ${formatUses(n)}` }));
  return await plotSvg({
    title,
    width: 560,
    height: 320,
    layer: [
      {
        data: { values },
        mark: { type: 'line' },
        encoding: {
          x: { ...x, axis: { format: '~g', grid: false } },
          y: {
            field: 'teraflops',
            type: 'quantitative',
            title: 'write + n · read, TFLOPs',
            scale: { type: 'log' },
            axis: { format: '~g', grid: false },
          },
          color: colour,
        },
      },
      { data: { values: rules }, mark: { type: 'rule', strokeDash: [4, 4], color: '#777777' }, encoding: { x } },
      {
        data: { values: rules },
        mark: { type: 'text', align: 'left', dx: 4, fontSize: 11 },
        encoding: { x, y: { value: 10 }, text: { field: 'label' } },
      },
    ],
  } as Parameters<typeof plotSvg>[0]);
}

/** Three digits: "0.494", "13 400". */
export function formatUses(n: number): string {
  const rounded = Number(n.toPrecision(3));
  return rounded < 1000 ? String(rounded) : String(rounded).replace(/\B(?=(\d{3})+$)/g, ' ');
}
