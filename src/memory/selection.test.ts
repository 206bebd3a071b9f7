import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { randomScores, selectSpread, selectTokens } from './selection.ts';

describe('selecting tokens', () => {
  it('takes the highest scores, in ascending order of index', () => {
    assert.deepEqual(selectTokens([0.1, 5, -1, 4, 4.5], 3), [1, 3, 4]);
    assert.deepEqual(selectTokens(Float32Array.of(-3, -1, -2), 1), [1]);
  });

  it('gives ties to the lower index', () => {
    assert.deepEqual(selectTokens([1, 1, 1, 1], 2), [0, 1]);
    assert.deepEqual(selectTokens([0, 2, 1, 1, 1, 2], 3), [1, 2, 5]);
    assert.deepEqual(selectTokens([0, -0, 0], 1), [0]);
    const infinite = Number.NEGATIVE_INFINITY;
    assert.deepEqual(selectTokens([infinite, infinite, 7, infinite], 2), [0, 2]);
  });

  it('takes everything that there is, if asked for as much or more', () => {
    assert.deepEqual(selectTokens([3, 1, 2], 3), [0, 1, 2]);
    assert.deepEqual(selectTokens([3, 1, 2], 8), [0, 1, 2]);
    assert.deepEqual(selectTokens([], 8), []);
  });

  it('leaves out only what scores lower, or ties and stands later', () => {
    // Few distinct scores, so that there are many ties.
    const scores = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(scores, fc.integer({ min: 0, max: 30 }), (values, count) => {
        const kept = selectTokens(values, count);
        assert.equal(kept.length, Math.min(count, values.length));
        for (const [i, index] of kept.entries()) assert.ok(i === 0 || index > (kept[i - 1] as number));
        for (const left of values.keys()) {
          if (kept.includes(left)) continue;
          for (const index of kept) {
            const [own, others] = [values[index] as number, values[left] as number];
            assert.ok(own > others || (own === others && index < left));
          }
        }
      }),
    );
  });
});

describe('random scores', () => {
  it('are the same for the same seed and others for another', () => {
    assert.deepEqual(randomScores(20, 7), randomScores(20, 7));
    assert.notDeepEqual(randomScores(20, 7), randomScores(20, 8));
    assert.deepEqual(randomScores(5, 7), randomScores(20, 7).subarray(0, 5));
    assert.deepEqual(randomScores(3, -1), randomScores(3, 0xffffffff));
  });

  it('keep every place about as often', () => {
    const counts = new Array<number>(16).fill(0);
    for (let seed = 0; seed < 4000; seed++) {
      for (const index of selectTokens(randomScores(16, seed), 4)) counts[index] = (counts[index] as number) + 1;
    }
    // Expected 1000 each, with a standard deviation of 27.
    for (const count of counts) assert.ok(Math.abs(count - 1000) < 150, `${counts}`);
  });
});

describe('selecting tokens that are spread over heads', () => {
  /** The same scores in every head. */
  const alike = (scores: readonly number[], planes: number) => Float32Array.from(new Array(planes).fill(scores).flat());

  it('takes the best first, and what the heads before left where it is nearly as good', () => {
    const scores = alike([1, 0.95, 0.9, 0.85, 0.1], 2);
    assert.deepEqual(selectSpread(scores, 2, 5, 2), [
      [0, 1],
      [2, 3],
    ]);
    // exp(-0.3) = 0.74: a token that is far better is kept again.
    assert.deepEqual(selectSpread(alike([1, 0.7, 0.6], 2), 2, 3, 1), [[0], [0]]);
    assert.deepEqual(selectSpread(alike([1, 0.75, 0.6], 2), 2, 3, 1), [[0], [1]]);
  });

  it('forgets what earlier layers kept', () => {
    // The second layer counts the first one's choice as 0.8: exp(-0.24) = 0.787.
    const scores = alike([1, 0.78], 2);
    assert.deepEqual(selectSpread(scores, 1, 2, 1), [[0], [0]]);
    assert.deepEqual(selectSpread(scores, 2, 2, 1), [[0], [1]]);
  });

  it('keeps each token of one head once, whatever the scores', () => {
    const scores = fc.array(fc.float({ min: 0, max: 1, noNaN: true }), { minLength: 12, maxLength: 12 });
    fc.assert(
      fc.property(scores, fc.integer({ min: 1, max: 3 }), (values, count) => {
        const kept = selectSpread(Float32Array.from(values), 2, 3, count);
        assert.equal(kept.length, 4);
        for (const tokens of kept) assert.deepEqual(tokens, [...new Set(tokens)].sort().slice(0, count));
      }),
    );
  });
});
