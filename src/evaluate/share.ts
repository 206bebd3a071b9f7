/** How much of what references as text gain is left when they come as memories; how far apart two ways of reading are. */
import type { Random } from '../generate/sampling.ts';

/** A measured number. */
export interface Interval {
  readonly value: number;
  /** 95 % interval. */
  readonly low: number;
  readonly high: number;
}

/** Of two values over the items that both have. */
export interface PairedDifference extends Interval {
  readonly items: number;
  /** Whether nothing can be said of it (`isNoise`). */
  readonly noise: boolean;
}

/**
 * Fewer pairs than this never tell a difference from noise: even if all of them differ in the same direction, that happens
 * by chance in 1 of 16 cases with five of them, though a bootstrap, which draws only from them, would see no 0.
 */
export const fewestPairs = 6;

/** When a difference is noise, for people. @example `a difference is noise where ${noiseRule('questions')}` */
export const noiseRule = (items: string) =>
  `its 95 % interval holds 0, or where it is of fewer than ${fewestPairs} ${items}`;

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
  const share = (indices: Iterable<number>) => shareOf(none, rag, memory, indices);
  const value = share(none.keys());
  return Number.isFinite(value) ? { value, ...bootstrap(none.length, share, random) } : null;
}

/** Mean of a - b over questions, drawn again with replacement in pairs. */
export function meanDifference(a: readonly number[], b: readonly number[], random: Random): Interval {
  const differences = a.map((value, question) => value - (b[question] as number));
  const mean = (indices: readonly number[]) =>
    indices.reduce((sum, index) => sum + (differences[index] as number), 0) / indices.length;
  return { value: mean([...differences.keys()]), ...bootstrap(differences.length, mean, random) };
}

/** The mean difference of scores by id, over the ids that both have. */
export function pairedDifference(
  own: ReadonlyMap<string, number>,
  other: ReadonlyMap<string, number>,
  random: Random,
): PairedDifference {
  const both = [...own.keys()].filter((id) => other.has(id));
  const scores = (of: ReadonlyMap<string, number>) => both.map((id) => of.get(id) as number);
  const difference = meanDifference(scores(own), scores(other), random);
  return { ...difference, items: both.length, noise: isNoise(difference, [both.length]) };
}

/** Whether a difference's interval holds 0, or too few pairs made it. @param pairs of each part that it is a mean over */
export function isNoise({ low, high }: Pick<Interval, 'low' | 'high'>, pairs: readonly number[]): boolean {
  return pairs.some((count) => count < fewestPairs) || !(low > 0 || high < 0);
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

/** Without a gain to have a share of it has no bound, on the side of what memory gains. */
function shareOf(
  none: readonly number[],
  rag: readonly number[],
  memory: readonly number[],
  indices: Iterable<number>,
): number {
  let gain = 0;
  let kept = 0;
  for (const index of indices) {
    gain += (none[index] as number) - (rag[index] as number);
    kept += (none[index] as number) - (memory[index] as number);
  }
  return gain > 0 ? kept / gain : kept > 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
}
