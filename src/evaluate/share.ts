/** How much of what references as text gain is left when they come as memories. */
import type { Random } from '../generate/sampling.ts';

export interface Share {
  /** (none - memory) / (none - rag), of means over questions. */
  readonly value: number;
  /** 95 % interval. */
  readonly low: number;
  readonly high: number;
}

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
  const draw = () => none.map(() => Math.floor(random() * none.length));
  const drawn = Array.from({ length: resamples }, () => shareOf(none, rag, memory, draw()));
  // Where a resample has no gain, the share has no bound on that side.
  const shares = drawn.map((share) => share ?? Number.NEGATIVE_INFINITY).sort((a, b) => a - b);
  const quantile = (part: number) => shares[Math.floor(part * (resamples - 1))] as number;
  return { value, low: quantile(0.025), high: quantile(0.975) };
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
