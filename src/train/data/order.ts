/**
 * The order in which a run sees its sequences: all of them in each epoch, in another seeded order each time, and the n-th
 * draw a function of n alone, so that a run resumed at any step goes on exactly.
 *
 * Nothing of the size of the corpus is held. Each epoch's order is a Feistel network (Luby and Rackoff 1988), which is a
 * permutation whatever its round function is, of the numbers below 4^k, the least such power >= count; a number that
 * falls outside of the corpus is permuted again until it falls inside ("cycle walking", Black and Rogaway 2002), at most
 * four times on average.
 */
import { Memory3Error } from '../../errors.ts';
import { mix } from './hash.ts';

/** Which sequence comes when. */
export interface SequenceOrder {
  readonly count: number;
  /** Index of the sequence of the n-th draw, n from 0. */
  index(draw: number): number;
}

/** Rounds of the network; four make it look random to statistical tests, the others are cheap. */
const rounds = 6;
const largestCount = 2 ** 32;

/**
 * @param seed 32-bit; other seeds, other orders
 * @param count number of sequences
 * @throws Memory3Error "usage" if there are none, or more than 2^32.
 * @example const order = sequenceOrder(1, file.count); file.sequence(order.index(step * batch + row));
 */
export function sequenceOrder(seed: number, count: number): SequenceOrder {
  if (!Number.isInteger(count) || count < 1 || count > largestCount) {
    throw new Memory3Error('usage', `There is no order of ${count} sequences.`, {
      remedy: 'A corpus needs at least one sequence; make the sequences shorter or add texts.',
    });
  }
  const half = Math.max(1, Math.ceil(Math.log2(count) / 2));
  return {
    count,
    index(draw) {
      if (!Number.isSafeInteger(draw) || draw < 0) throw new Memory3Error('usage', `There is no draw ${draw}.`);
      const key = mix(seed + Math.imul(mix(Math.floor(draw / count) + 1), 0x9e37_79b9));
      let index = draw % count;
      do index = permute(index, half, key);
      while (index >= count);
      return index;
    },
  };
}

/** A permutation of the numbers below 4^half. */
function permute(value: number, half: number, key: number): number {
  const mask = 2 ** half - 1;
  let left = Math.floor(value / 2 ** half);
  let right = value & mask;
  for (let round = 0; round < rounds; round++) {
    const next = left ^ (mix(right + Math.imul(round + 1, 0x85eb_ca6b) + key) & mask);
    left = right;
    right = next;
  }
  return left * 2 ** half + right;
}
