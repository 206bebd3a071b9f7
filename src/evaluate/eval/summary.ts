/**
 * What a run's items come to: a cell for each task, metric and mode, with its 95 % interval, and the difference to every
 * mode before it, over the items that both have, drawn again in pairs (bootstrap). A difference whose interval holds 0 is
 * noise and called so.
 */
import { seededRandom } from '../../generate/sampling.ts';
import { bootstrap, type Interval } from '../share.ts';
import type { MetricName, Task } from '../tasks/task.ts';
import { cellValue, metricKinds, type Weighted } from './metrics.ts';
import type { Mode } from './modes.ts';
import type { ItemRecord } from './records.ts';

export interface Cell extends Interval {
  readonly task: string;
  readonly metric: MetricName;
  readonly mode: string;
  /** Items that were measured. */
  readonly items: number;
  /** Items that did not fit the model's context. */
  readonly tooLong: number;
  /** References that were left out because they overlap their item, of all items together. */
  readonly leftOut: number;
  /** Items that got fewer references than the mode has. */
  readonly short: number;
  /** Items of which a reference holds a right answer; null where that cannot be said. */
  readonly held: number | null;
  readonly differences: readonly Difference[];
}

/** Of a cell's value and another mode's. */
export interface Difference extends Interval {
  readonly to: string;
  /** Items that both have. */
  readonly items: number;
  /** Whether the interval holds 0. */
  readonly noise: boolean;
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

function cellOf(
  task: string,
  metric: MetricName,
  mode: Mode,
  records: readonly ItemRecord[],
  before: readonly { readonly to: string; readonly records: readonly ItemRecord[] }[],
  seed: number,
): Cell {
  const own = weighted(metric, records);
  const scores = [...own.values()];
  const held = records.map((record) => record.held).filter((one) => one !== null);
  return {
    task,
    metric,
    mode: mode.name,
    ...intervalOf(metric, scores, seed),
    items: scores.length,
    tooLong: records.filter(({ tooLong }) => tooLong !== null).length,
    leftOut: records.reduce((sum, { leftOut }) => sum + leftOut, 0),
    short: records.filter(({ references }) => references.length < mode.references).length,
    held: held.length === 0 ? null : held.filter((one) => one).length,
    differences: before.map(({ to, records: others }) => {
      const other = weighted(metric, others);
      const both = [...own.keys()].filter((id) => other.has(id));
      const pairs = both.map((id) => [own.get(id), other.get(id)] as [Weighted, Weighted]);
      return { to, ...pairedDifference(metric, pairs, seed), items: both.length };
    }),
  };
}

/** Scores of the items that were measured, by id. */
function weighted(metric: MetricName, records: readonly ItemRecord[]): Map<string, Weighted> {
  return new Map(
    records.flatMap(({ id, scores, weight }) => {
      const score = scores[metric];
      return score === undefined ? [] : [[id, { score, weight }] as const];
    }),
  );
}

/** A metric's value over items, and how far it might be off. */
export function intervalOf(metric: MetricName, scores: readonly Weighted[], seed: number): Interval {
  const of = (indices: readonly number[]) => cellValue(metric, drawn(scores, indices));
  return { value: cellValue(metric, scores), ...bootstrap(scores.length, of, seededRandom(seed)) };
}

/** The difference of a metric's values, over items each of which has both scores. */
export function pairedDifference(
  metric: MetricName,
  pairs: readonly (readonly [own: Weighted, other: Weighted])[],
  seed: number,
): Interval & Pick<Difference, 'noise'> {
  const [own, others] = [pairs.map(([one]) => one), pairs.map(([, one]) => one)];
  const of = (indices: readonly number[]) =>
    cellValue(metric, drawn(own, indices)) - cellValue(metric, drawn(others, indices));
  const { low, high } = bootstrap(pairs.length, of, seededRandom(seed));
  return { value: cellValue(metric, own) - cellValue(metric, others), low, high, noise: low <= 0 && high >= 0 };
}

function drawn(scores: readonly Weighted[], indices: readonly number[]): Weighted[] {
  return indices.map((index) => scores[index] as Weighted);
}

/** Whether a difference is for the better; null if it is noise. */
export function isBetter(metric: MetricName, { value, noise }: Pick<Difference, 'value' | 'noise'>): boolean | null {
  if (noise) return null;
  return metricKinds[metric].better === 'higher' ? value > 0 : value < 0;
}
