import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { sequenceOrder } from './order.ts';

const epochOf = (seed: number, count: number, epoch: number) => {
  const order = sequenceOrder(seed, count);
  return Array.from({ length: count }, (_, n) => order.index(epoch * count + n));
};

describe('the order of sequences', () => {
  it('is a permutation in every epoch', () => {
    const epoch = fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: 2 ** 40 }));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.nat(), epoch, (count, seed, number) => {
        const sorted = epochOf(seed, count, number).toSorted((a, b) => a - b);
        assert.deepEqual(
          sorted,
          Array.from({ length: count }, (_, n) => n),
        );
      }),
    );
  });

  it('is the same for the same seed, another for another seed or epoch', () => {
    assert.deepEqual(epochOf(7, 100, 0), epochOf(7, 100, 0));
    assert.notDeepEqual(epochOf(7, 100, 0), epochOf(8, 100, 0));
    assert.notDeepEqual(epochOf(7, 100, 0), epochOf(7, 100, 1));
  });

  it('mixes: neighbours come apart, and every sequence comes early as often as late', () => {
    const count = 997;
    const seeds = Array.from({ length: 40 }, (_, seed) => epochOf(seed, count, 0));
    const followers = seeds.flatMap((order) => order.filter((index, n) => order[n + 1] === index + 1));
    // As many as in a random order: one in each on average.
    assert.ok(followers.length > 15 && followers.length < 75, `${followers.length} neighbours stayed together`);
    const early = seeds.flatMap((order) => order.slice(0, 100));
    const mean = early.reduce((sum, index) => sum + index, 0) / early.length;
    // Four standard deviations of the mean of 4000 uniform numbers.
    assert.ok(Math.abs(mean - (count - 1) / 2) < (4 * count) / Math.sqrt(12 * early.length), `mean ${mean}`);
    assert.ok(new Set(early).size > 900);
  });

  it('needs nothing of the size of the corpus', () => {
    const order = sequenceOrder(3, 2 ** 32);
    const some = Array.from({ length: 1000 }, (_, n) => order.index(n * 4_000_037));
    assert.equal(new Set(some).size, 1000);
    assert.ok(some.every((index) => index >= 0 && index < 2 ** 32));
  });

  it('of nothing is refused', () => {
    for (const count of [0, -1, 1.5, 2 ** 33]) assert.throws(() => sequenceOrder(1, count), { code: 'usage' });
    assert.throws(() => sequenceOrder(1, 5).index(-1), { code: 'usage' });
  });
});
