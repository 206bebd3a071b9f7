/** Charts of a report: the scores of a task (or of the mean over tasks) in each mode, with their 95 % intervals. */
import type { Html } from '../../html.ts';
import { type PlotSpec, plotInPage } from '../../plot.ts';
import type { Interval } from '../share.ts';

/** A dot with its interval. */
export interface ChartRow extends Interval {
  readonly label: string;
}

/** As wide as a narrow phone shows without shrinking it. */
const width = 328;
const rowHeight = 36;
/** Told apart by the colour-blind, and seen on white and on black. */
const colours = ['#808080', '#d55e00', '#0072b2', '#009e73', '#cc79a7', '#a6761d', '#7570b3'];

/**
 * A row for each mode; a dashed rule runs through the first one's score.
 * @returns null if nothing was measured
 */
export async function scoreChart(title: string, metric: string, rows: readonly ChartRow[]): Promise<Html | null> {
  const values = rows.filter(({ value }) => !Number.isNaN(value));
  const [first] = values;
  if (first === undefined) return null;
  const labels = values.map(({ label }) => label);
  const y = { field: 'label', type: 'nominal', sort: labels, title: null, scale: { domain: labels }, axis: null };
  const below = { ...y, bandPosition: 0.75 };
  const x = {
    type: 'quantitative',
    title: metric,
    scale: { zero: false, nice: true },
    axis: { tickCount: 5, format: '~g' },
  };
  // Above its row: names may be longer than a phone is wide.
  const name = { type: 'text', align: 'left', dx: 2, color: 'currentColor' };
  // Of all rows, so that a mode has one colour in every chart.
  const all = rows.map(({ label }) => label);
  const color = { field: 'label', type: 'nominal', scale: { domain: all, range: colours }, legend: null };
  const spec = {
    title: { text: title, anchor: 'start' },
    width,
    height: rowHeight * values.length,
    autosize: { type: 'fit-x', contains: 'padding' },
    data: { values: values.map((row) => ({ ...row, name: `${row.label}  ${short(row.value)}` })) },
    layer: [
      {
        data: { values: [{ value: first.value }] },
        mark: { type: 'rule', strokeDash: [3, 3], color: 'currentColor', opacity: 0.5 },
        encoding: { x: { ...x, field: 'value' } },
      },
      {
        mark: { type: 'rule', strokeWidth: 3 },
        encoding: { y: below, x: { ...x, field: 'low' }, x2: { field: 'high' }, color },
      },
      { mark: name, encoding: { y: { ...y, bandPosition: 0.3 }, x: { value: 0 }, text: { field: 'name' } } },
      {
        mark: { type: 'point', filled: true, size: 70, opacity: 1 },
        encoding: { y: below, x: { ...x, field: 'value' }, color },
      },
    ],
  } as unknown as PlotSpec;
  const label = values.map(({ label, value, low, high }) => `${label} ${[value, low, high].map(short).join(', ')}`);
  return await plotInPage(spec, `${title}, ${metric}: value, low, high of ${label.join('; ')}`);
}

function short(value: number): string {
  return value.toFixed(3);
}
