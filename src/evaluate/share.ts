/** How much of what references as text gain is left when they come as memories; how far apart two ways of reading are. */
import type { Random } from '../generate/sampling.ts';

/** A measured number. */
export interface Interval {
  readonly value: number;
  /** 95 % interval. */
  readonly low: number;
  readonly high: number;
}

/** (none - memory) / (none - rag), of means over questions. */
export type Share = Interval;

const resamples = 2000;

/**
 * The share with a bootstrap interval: questions are drawn again with replacement, each with all three of its values, so
 * what makes a question hard for all three does not count as noise.
 * @param none nats of each question without references; `rag` with them as text, `memory` as memories
 * @returns null where references as text gain nothing, so that there is nothing to have a share of
 */
export function shareOfGain(
  none: readonly number[],
  rag: readonly number[],
  memory: readonly number[],
  random: Random,
): Share | null {
  const value = shareOf(none, rag, memory, [...none.keys()]);
  if (value === null) return null;
  // Where a resample has no gain, the share has no bound on that side.
  const statistic = (indices: readonly number[]) => shareOf(none, rag, memory, indices) ?? Number.NEGATIVE_INFINITY;
  return { value, ...bootstrap(none.length, statistic, random) };
}

/** Mean of a - b over questions, drawn again with replacement in pairs. */
export function meanDifference(a: readonly number[], b: readonly number[], random: Random): Interval {
  const differences = a.map((value, question) => value - (b[question] as number));
  const mean = (indices: readonly number[]) =>
    indices.reduce((sum, index) => sum + (differences[index] as number), 0) / indices.length;
  return { value: mean([...differences.keys()]), ...bootstrap(differences.length, mean, random) };
}

/** The 95 % interval of a statistic of `count` questions, given which of them are drawn. */
export function bootstrap(
  count: number,
  statistic: (indices: readonly number[]) => number,
  random: Random,
): Pick<Interval, 'low' | 'high'> {
  const draw = () => Array.from({ length: count }, () => Math.floor(random() * count));
  return resampled(() => statistic(draw()));
}

/** The 95 % interval of a statistic that draws for itself. */
export function resampled(statistic: () => number): Pick<Interval, 'low' | 'high'> {
  const drawn = Array.from({ length: resamples }, statistic).sort((a, b) => a - b);
  const quantile = (part: number) => drawn[Math.floor(part * (resamples - 1))] as number;
  return { low: quantile(0.025), high: quantile(0.975) };
}

function shareOf(
  none: readonly number[],
  rag: readonly number[],
  memory: readonly number[],
  indices: readonly number[],
): number | null {
  let gain = 0;
  let kept = 0;
  for (const index of indices) {
    gain += (none[index] as number) - (rag[index] as number);
    kept += (none[index] as number) - (memory[index] as number);
  }
  return gain > 0 ? kept / gain : null;
}
