/** What an evaluation prints: its cells, means over tasks, and another run beside it. */
import { bankWords } from '../evaluate/banks/holdings.ts';
import type { Comparison } from '../evaluate/eval/compare.ts';
import {
  describeParameters,
  describeSize,
  notesOf,
  placeName,
  sizeFormula,
} from '../evaluate/eval/comparison-words.ts';
import type { RunReport, RunSummary } from '../evaluate/eval/report.ts';
import {
  decimal,
  describeComparison,
  describeDifference,
  describeInterval,
  meanOf,
  remarks,
} from '../evaluate/eval/words.ts';
import { type Terminal, table } from './terminal.ts';

/** As tables, or as a line of JSON for each cell, mean, compared cell and effective size. */
export function printEvaluation(
  { cells, averages, comparison, bank, report }: RunSummary & RunReport,
  terminal: Terminal,
): void {
  const { rows = [], sizes = [], ...differences } = comparison ?? {};
  const values = [
    ...(bank === null || cells.length === 0 ? [] : [{ kind: 'bank', ...bank }]),
    ...cells.map((cell) => ({ kind: 'cell', ...cell })),
    ...averages.map((average) => ({ kind: 'mean', ...average })),
    ...(comparison === null ? [] : [{ kind: 'comparison', ...differences }]),
    ...rows.map((row) => ({ kind: 'compared', ...row })),
    ...sizes.map((size) => ({ kind: 'effective-size', ...size })),
  ];
  terminal.results(values, () =>
    [
      ...(cells.length === 0 || bank === null ? [] : [`Bank ${bankWords(bank)}`]),
      ...(cells.length === 0 ? [] : [describeCells({ cells, averages })]),
      ...(comparison === null ? [] : describeRuns(comparison)),
    ].join('\n\n'),
  );
  terminal.notice(`Report: ${report}`);
}

/** A line for each cell; what is left out is said where something is. */
function describeCells({ cells, averages }: RunSummary): string {
  const rows = [
    ...cells.map((cell) => ({ name: cell.task, cell, notes: remarks(cell) })),
    ...averages.map((average) => ({ name: meanOf(average), cell: average, notes: [] })),
  ];
  return table(
    ['task', 'metric', 'mode', 'value', '95 %', 'items', 'differences', 'remarks'],
    rows.map(({ name, cell, notes }) => [
      name,
      cell.metric,
      cell.mode,
      decimal(cell.value),
      describeInterval(cell),
      String(cell.items),
      cell.differences.map((difference) => describeDifference(cell.metric, difference)).join('; '),
      notes.join(', '),
    ]),
  );
}

/** Two runs side by side, what is not alike in them, and effective sizes. */
function describeRuns(comparison: Comparison): string[] {
  const { here, there, rows, sizes } = comparison;
  const parts = [
    `This run: ${here.name}, ${here.model}. Other run: ${there.name}, ${there.model}.`,
    table(
      ['task', 'metric', 'mode', 'this run', 'other run', 'items', 'this run is', 'only here', 'only there'],
      rows.map((row) => [
        placeName(row),
        row.metric,
        row.mode,
        decimal(row.here),
        decimal(row.there),
        String(row.difference.items),
        describeComparison(row),
        String(row.onlyHere),
        String(row.onlyThere),
      ]),
    ),
  ];
  const notes = notesOf(comparison);
  if (notes.length > 0) parts.push(notes.join('\n'));
  if (sizes.length === 0) return parts;
  const head = ['task', 'metric', 'mode', 'without', 'with', 'larger model', 'items', 'effective size', 'parameters'];
  const lines = sizes.map((size) => [
    placeName(size),
    size.metric,
    size.mode,
    decimal(size.without),
    decimal(size.with),
    decimal(size.larger),
    String(size.items),
    describeSize(size),
    describeParameters(size.parameters),
  ]);
  return [...parts, `${table(head, lines)}\n${sizeFormula}`];
}
