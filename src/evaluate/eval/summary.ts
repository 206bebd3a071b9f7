/**
 * What a run's items come to: a cell for each task, metric and mode, with its 95 % interval, and the difference to every
 * mode before it, over the items that both have, drawn again in pairs (bootstrap). A difference that is noise (`isNoise`) is
 * called so. The same of the mean over tasks that have a metric in common.
 */
import { type Interval, isNoise, type PairedDifference } from '../share.ts';
import type { MetricName, Task } from '../tasks/task.ts';
import { metricKinds, type Weighted } from './metrics.ts';
import type { Mode } from './modes.ts';
import type { ItemRecord } from './records.ts';
import { type Stratum, stratified } from './strata.ts';

export interface Cell extends Interval {
  readonly task: string;
  readonly metric: MetricName;
  readonly mode: string;
  /** Items that were measured. */
  readonly items: number;
  /** Items that did not fit the model's context; they were not measured. */
  readonly tooLong: number;
  /** References that were left out because they overlap their item, of all items together. */
  readonly leftOut: number;
  /** Items that got fewer references from the bank than the mode has. */
  readonly short: number;
  /** Items of which a reference holds a right answer, by chance too; null where that cannot be said. */
  readonly held: number | null;
  /** Items of which that can be said. */
  readonly heldOf: number;
  /** Items without a passage of their own, of a mode that gives these; they were not measured. */
  readonly noGold: number;
  /** Pieces of passages that were longer than the mode has references for, of all items together. */
  readonly goldLeftOut: number;
  readonly differences: readonly Difference[];
}

/** Of a cell's value and another mode's. */
export interface Difference extends PairedDifference {
  readonly to: string;
}

/** The mean of a metric over tasks, each of which counts the same. */
export interface Average extends Interval {
  readonly metric: MetricName;
  readonly mode: string;
  /** At least two: those of which every mode has measured items. */
  readonly tasks: readonly string[];
  /** Of all of them. */
  readonly items: number;
  readonly differences: readonly Difference[];
}

/** Cells in the order of tasks, metrics and modes. */
export function summarise(
  records: readonly ItemRecord[],
  tasks: readonly Task[],
  modes: readonly Mode[],
  seed: number,
): Cell[] {
  const byCell = Map.groupBy(records, ({ task, mode }) => `${task} ${mode}`);
  const recordsOf = (task: Task, mode: Mode) => byCell.get(`${task.name} ${mode.name}`) ?? [];
  return tasks.flatMap((task) =>
    task.metrics.flatMap((metric) =>
      modes.map((mode, index) => {
        const own = recordsOf(task, mode);
        const before = modes.slice(0, index).map((other) => ({ to: other.name, records: recordsOf(task, other) }));
        return cellOf(task.name, metric, mode, own, before, seed);
      }),
    ),
  );
}

/**
 * Means over tasks, in the order of metrics and modes. None of perplexities, which do not add up, and none in modes with
 * the items' own passages, which few tasks have.
 */
export function averagesOf(
  records: readonly ItemRecord[],
  tasks: readonly Task[],
  modes: readonly Mode[],
  seed: number,
): Average[] {
  const byCell = Map.groupBy(records, ({ task, mode }) => `${task} ${mode}`);
  const scored = (task: Task, mode: Mode, metric: MetricName) =>
    scoresOf(metric, byCell.get(`${task.name} ${mode.name}`) ?? []);
  const recalled = modes.filter(({ gold }) => !gold);
  return averagedMetrics(tasks).flatMap((metric) => {
    const own = tasks
      .filter(({ metrics }) => (metrics as readonly MetricName[]).includes(metric))
      .map((task) => ({ name: task.name, scores: recalled.map((mode) => scored(task, mode, metric)) }))
      .filter(({ scores }) => scores.every(({ size }) => size > 0));
    if (own.length < 2) return [];
    return recalled.map((mode, index): Average => {
      const strata = own.map(({ scores }) => [[...(scores[index] as Scored).values()]]);
      return {
        metric,
        mode: mode.name,
        tasks: own.map(({ name }) => name),
        ...stratified(metric, strata, ([value = Number.NaN]) => value, seed),
        items: strata.reduce((sum, [column = []]) => sum + column.length, 0),
        differences: recalled.slice(0, index).map(({ name: to }, before) => {
          const pairs = own.map(({ scores }) => paired(scores[index] as Scored, scores[before] as Scored));
          return { to, ...differenceOf(metric, pairs, seed) };
        }),
      };
    });
  });
}

/** Metrics of tasks that a mean can be taken of, each once. */
export function averagedMetrics(tasks: readonly Task[]): MetricName[] {
  const all = new Set(tasks.flatMap(({ metrics }): readonly MetricName[] => metrics));
  return [...all].filter((metric) => metric !== 'perplexity');
}

function cellOf(
  task: string,
  metric: MetricName,
  mode: Mode,
  records: readonly ItemRecord[],
  before: readonly { readonly to: string; readonly records: readonly ItemRecord[] }[],
  seed: number,
): Cell {
  const own = scoresOf(metric, records);
  const held = records.map((record) => record.held).filter((one) => one !== null);
  return {
    task,
    metric,
    mode: mode.name,
    ...intervalOf(metric, [...own.values()], seed),
    items: own.size,
    tooLong: records.filter(({ tooLong }) => tooLong !== null).length,
    leftOut: records.reduce((sum, { leftOut }) => sum + leftOut, 0),
    short: mode.gold ? 0 : records.filter(({ references }) => references.length < mode.references).length,
    held: held.length === 0 ? null : held.filter((one) => one).length,
    heldOf: held.length,
    noGold: records.filter(({ gold }) => gold === null).length,
    goldLeftOut: records.reduce((sum, { gold }) => sum + (gold?.leftOut ?? 0), 0),
    differences: before.map(({ to, records: others }) => ({
      to,
      ...differenceOf(metric, [paired(own, scoresOf(metric, others))], seed),
    })),
  };
}

/** Scores of items by their id. */
export type Scored = ReadonlyMap<string, Weighted>;

/** Scores of the items that were measured, by id. */
export function scoresOf(metric: MetricName, records: readonly ItemRecord[]): Scored {
  return new Map(
    records.flatMap(({ id, scores, weight }) => {
      const score = scores[metric];
      return score === undefined ? [] : [[id, { score, weight }] as const];
    }),
  );
}

/** The items that all have: a column of scores for each. */
export function paired(first: Scored, ...others: readonly Scored[]): Stratum {
  const ids = [...first.keys()].filter((id) => others.every((other) => other.has(id)));
  return [first, ...others].map((scores) => ids.map((id) => scores.get(id) as Weighted));
}

/** A metric's value over items, and how far it might be off. */
export function intervalOf(metric: MetricName, scores: readonly Weighted[], seed: number): Interval {
  return stratified(metric, [[scores]], ([value = Number.NaN]) => value, seed);
}

/**
 * The difference of a metric's values, of the first column and the second.
 * @param strata of each task the items that both have
 */
export function differenceOf(metric: MetricName, strata: readonly Stratum[], seed: number): PairedDifference {
  const difference = ([own = Number.NaN, other = Number.NaN]: readonly number[]) => own - other;
  const interval = stratified(metric, strata, difference, seed);
  const pairs = strata.map(([column = []]) => column.length);
  return { ...interval, noise: isNoise(interval, pairs), items: pairs.reduce((sum, count) => sum + count, 0) };
}

/** Whether a difference is for the better; null if it is noise. */
export function isBetter(metric: MetricName, { value, noise }: Pick<Difference, 'value' | 'noise'>): boolean | null {
  if (noise) return null;
  return metricKinds[metric].better === 'higher' ? value > 0 : value < 0;
}
