/**
 * Numbers of a table whose columns may be of different runs: a column is a mode of a run, a row a task and a metric. Where
 * two columns are compared it is over the items that both have, resampled in pairs (`../eval/strata.ts`).
 *
 * A mean is over rows, each of which counts the same; their metrics are all shares of 1, so they can be added up.
 */

import type { Mode } from '../eval/modes.ts';
import type { ItemRecord } from '../eval/records.ts';
import type { StoredRun } from '../eval/stored-run.ts';
import { columnValues, type Stratum, stratified } from '../eval/strata.ts';
import { type Difference, differenceOf, isBetter, paired, type Scored, scoresOf } from '../eval/summary.ts';
import type { Interval } from '../share.ts';
import type { MetricName, Task } from '../tasks/task.ts';

/** Draws the intervals' samples. */
export const seed = 0;

export interface Row {
  readonly task: string;
  readonly metric: MetricName;
}

export interface Column {
  readonly heading: string;
  readonly mode: Mode;
  /** By task; a task that is not measured yet is missing. */
  readonly records: ReadonlyMap<string, readonly ItemRecord[]>;
}

const unknown: Interval = { value: Number.NaN, low: Number.NaN, high: Number.NaN };

/** A measured value. Without items it is NaN. */
export interface Value extends Interval {
  readonly items: number;
}

/** Two columns held against each other, the first against the second. */
export interface Comparison {
  readonly first: Column;
  readonly second: Column;
  /** Tasks of which both have items, by the verdict on the first. */
  readonly better: readonly string[];
  readonly worse: readonly string[];
  readonly noise: readonly string[];
  /** Over the tasks whose metric is a share; null if that is none. */
  readonly mean: ComparedMean | null;
}

export interface ComparedMean {
  readonly tasks: number;
  readonly first: number;
  readonly second: number;
  readonly difference: Omit<Difference, 'to'>;
}

/** @param run null: not begun */
export function columnOf(heading: string, run: StoredRun | null, mode: Mode): Column {
  const own = run?.records.filter((record) => record.mode === mode.name) ?? [];
  return { heading, mode, records: Map.groupBy(own, ({ task }) => task) };
}

/** Of each task the metrics that are wanted, or its first. */
export function rowsOf(tasks: readonly Task[], metrics: readonly MetricName[] = []): Row[] {
  return tasks.flatMap(({ name: task, metrics: own }) => {
    const wanted = metrics.filter((metric) => (own as readonly MetricName[]).includes(metric));
    return (wanted.length === 0 ? own.slice(0, 1) : wanted).map((metric) => ({ task, metric }));
  });
}

/** Of each task its first row. */
export function leadingRows(rows: readonly Row[]): Row[] {
  return rows.filter(({ task }, index) => rows.findIndex((other) => other.task === task) === index);
}

export function scoreOf(column: Column, row: Row): Value {
  return meanOf(column, [row]);
}

/** The mean over rows; of one row its value. */
export function meanOf(column: Column, rows: readonly Row[]): Value {
  const strata = rows.map((row) => [[...scoresIn(column, row).values()]]).filter(isFilled);
  if (strata.length === 0) return { ...unknown, items: 0 };
  const interval = stratified(metricOf(rows), strata, ([value = Number.NaN]) => value, seed);
  return { ...interval, items: itemsOf(strata) };
}

/** The difference of two columns' values, or of their means over rows. */
function differenceBetween(first: Column, second: Column, rows: readonly Row[]): Omit<Difference, 'to'> {
  const strata = pairsOf(first, second, rows);
  if (strata.length === 0) return { ...unknown, items: 0, noise: true };
  return differenceOf(metricOf(rows), strata, seed);
}

/** @param rows one of each task */
export function compareColumns(first: Column, second: Column, rows: readonly Row[]): Comparison {
  const both = rows.filter((row) => pairsOf(first, second, [row]).length > 0);
  const verdicts = both.map((row) => ({
    task: row.task,
    better: isBetter(row.metric, differenceBetween(first, second, [row])),
  }));
  const having = (wanted: boolean | null) => verdicts.filter(({ better }) => better === wanted).map(({ task }) => task);
  return {
    ...{ first, second, better: having(true), worse: having(false), noise: having(null) },
    mean: comparedMean(first, second, both.filter(isShare)),
  };
}

function comparedMean(first: Column, second: Column, rows: readonly Row[]): ComparedMean | null {
  if (rows.length === 0) return null;
  const [own = Number.NaN, other = Number.NaN] = columnValues('accuracy', pairsOf(first, second, rows));
  return { tasks: rows.length, first: own, second: other, difference: differenceBetween(first, second, rows) };
}

/** How many tasks are compared. */
export function tasksOf({ better, worse, noise }: Comparison): number {
  return better.length + worse.length + noise.length;
}

/** Whether a mean can be taken of it. */
export function isShare({ metric }: Row): boolean {
  return metric !== 'perplexity';
}

/** Whether anything in the column is measured. */
export function isBegun({ records }: Column): boolean {
  return records.size > 0;
}

/** Whether the column has a value there. */
export function hasItems(column: Column, row: Row): boolean {
  return scoresIn(column, row).size > 0;
}

/** The column that is better than all others beyond noise, if there is one. */
export function bestOf(columns: readonly Column[], row: Row): Column | null {
  if (columns.length < 2) return null;
  const beats = (one: Column, other: Column) =>
    one === other || isBetter(row.metric, differenceBetween(one, other, [row])) === true;
  return columns.find((one) => columns.every((other) => beats(one, other))) ?? null;
}

/** In how many items a reference held a right answer, of those where that can be said; null if there are none. */
export function heldIn({ records }: Column, task: string): { readonly held: number; readonly of: number } | null {
  const said = (records.get(task) ?? []).filter(({ held }) => held !== null);
  return said.length === 0 ? null : { held: said.filter(({ held }) => held === true).length, of: said.length };
}

function scoresIn({ records }: Column, { task, metric }: Row): Scored {
  return scoresOf(metric, records.get(task) ?? []);
}

/** Of each row the items that both have; rows without any are left out. */
function pairsOf(first: Column, second: Column, rows: readonly Row[]): Stratum[] {
  return rows.map((row) => paired(scoresIn(first, row), scoresIn(second, row))).filter(isFilled);
}

function isFilled([column = []]: Stratum): boolean {
  return column.length > 0;
}

function itemsOf(strata: readonly Stratum[]): number {
  return strata.reduce((sum, [column = []]) => sum + column.length, 0);
}

/** What a value is computed by: of several rows, which are all shares, as of any share. */
function metricOf(rows: readonly Row[]): MetricName {
  const [first] = rows;
  return rows.length === 1 && first !== undefined ? first.metric : 'accuracy';
}
