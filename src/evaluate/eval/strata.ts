/**
 * Statistics of one task or of several together, each with its 95 % interval (bootstrap).
 *
 *   stratum    the items of one task: [columns][items] scores, a column for each thing that is compared (modes, runs)
 *   value      of a column: the mean over strata of the metric's value over the stratum's items; tasks count the same
 *   statistic  of the columns' values: one of them, a difference, a ratio of differences
 *
 * A resample draws the items of each task anew from that task, all columns of an item together: what makes an item hard for
 * everybody is no noise.
 */
import { seededRandom } from '../../generate/sampling.ts';
import { type Interval, resampled } from '../share.ts';
import type { MetricName } from '../tasks/task.ts';
import { cellValue, type Weighted } from './metrics.ts';

/** [columns][items], with the same items in each column. */
export type Stratum = readonly (readonly Weighted[])[];

/**
 * A statistic over strata that have the same columns.
 * @param seed draws the resamples; the same for the same interval
 * @example stratified('accuracy', [[mine, theirs]], ([a = 0, b = 0]) => a - b, 0) // a paired difference
 */
export function stratified(
  metric: MetricName,
  strata: readonly Stratum[],
  statistic: (values: readonly number[]) => number,
  seed: number,
): Interval {
  const random = seededRandom(seed);
  // The same arrays for all resamples: making thousands of them would take longest.
  const drawn = strata.map(([column = []]) => new Int32Array(column.length));
  const draw = (indices: Int32Array) => {
    for (let i = 0; i < indices.length; i++) indices[i] = Math.floor(random() * indices.length);
  };
  return {
    value: statistic(columnValues(metric, strata)),
    ...resampled(() => {
      for (const indices of drawn) draw(indices);
      return statistic(columnValues(metric, strata, drawn));
    }),
  };
}

/**
 * The value of each column.
 * @param drawn items of each stratum; default each once
 */
export function columnValues(
  metric: MetricName,
  strata: readonly Stratum[],
  drawn: readonly Int32Array[] = strata.map(([column = []]) => Int32Array.from(column.keys())),
): number[] {
  const sums = new Array<number>(strata[0]?.length ?? 0).fill(0);
  for (const [index, stratum] of strata.entries()) {
    for (const [column, scores] of stratum.entries()) {
      sums[column] = (sums[column] ?? 0) + cellValue(metric, scores, drawn[index]);
    }
  }
  return sums.map((sum) => sum / strata.length);
}
