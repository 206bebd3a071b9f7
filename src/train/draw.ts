/** Drawing at random, all of it decided by one generator. */
import type { Random } from '../generate/sampling.ts';

export function pick<T>(values: readonly T[], random: Random): T {
  return values[Math.floor(random() * values.length)] as T;
}

/** Fisher-Yates, into a new array. */
export function shuffle<T>(values: readonly T[], random: Random): T[] {
  const result = [...values];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

/** A key with probability proportional to its share. */
export function pickByShare<Key extends string>(shares: ReadonlyMap<Key, number>, random: Random): Key {
  return systematicSample(shares, 1, random)[0] as Key;
}

/**
 * `count` keys, each as often as its share of `count` says, rounded up or down at random so that the mean is exact
 * (systematic sampling: points at equal distances on the cumulative shares).
 */
export function systematicSample<Key extends string>(
  shares: ReadonlyMap<Key, number>,
  count: number,
  random: Random,
): Key[] {
  const keys = [...shares.keys()];
  const total = [...shares.values()].reduce((sum, share) => sum + share, 0);
  const offset = random();
  let index = 0;
  let reached = shares.get(keys[0] as Key) as number;
  return Array.from({ length: count }, (_, i) => {
    const point = ((i + offset) / count) * total;
    while (reached <= point && index < keys.length - 1) reached += shares.get(keys[++index] as Key) as number;
    return keys[index] as Key;
  });
}

/** Those shares for whose key there is something to draw. */
export function sharesOf<Key extends string>(
  shares: Readonly<Record<Key, number>>,
  available: (key: Key) => boolean,
): ReadonlyMap<Key, number> {
  const entries = Object.entries(shares) as [Key, number][];
  return new Map(entries.filter(([key, share]) => share > 0 && available(key)));
}
