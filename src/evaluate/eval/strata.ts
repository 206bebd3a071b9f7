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
  const some = (count: number) => Array.from({ length: count }, () => Math.floor(random() * count));
  return {
    value: statistic(columnValues(metric, strata)),
    ...resampled(() => statistic(columnValues(metric, strata, some))),
  };
}

/**
 * The value of each column.
 * @param draw items of a stratum of so many; default each once
 */
export function columnValues(
  metric: MetricName,
  strata: readonly Stratum[],
  draw: (count: number) => readonly number[] = indices,
): number[] {
  const columns = strata[0]?.length ?? 0;
  const sums = new Array<number>(columns).fill(0);
  for (const stratum of strata) {
    const drawn = draw(stratum[0]?.length ?? 0);
    for (const [column, scores] of stratum.entries())
      sums[column] = (sums[column] ?? 0) + cellValue(metric, scores, drawn);
  }
  return sums.map((sum) => sum / strata.length);
}

function indices(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
