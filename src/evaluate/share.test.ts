import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom } from '../generate/sampling.ts';
import { isNoise, meanDifference, pairedDifference, shareOfGain } from './share.ts';

describe("the share of RAG's gain", () => {
  const random = seededRandom(1);
  const none = Array.from({ length: 400 }, () => 4 + 6 * random());
  const rag = none.map((value) => value - 2 - random());

  it('is exact, with no interval, where each question keeps the same share, however hard it is', () => {
    const memory = none.map((value, i) => value - 0.7 * (value - (rag[i] as number)));
    const share = shareOfGain(none, rag, memory, seededRandom(2));
    for (const value of Object.values(share ?? {})) assert.ok(Math.abs(value - 0.7) < 1e-9);
  });

  it('has an interval as wide as the standard error says', () => {
    const memory = none.map((value, i) => value - (value - (rag[i] as number)) * (random() < 0.5 ? 0 : 1));
    const { value, low, high } = shareOfGain(none, rag, memory, seededRandom(3)) ?? { value: 0, low: 0, high: 0 };
    assert.ok(low < value && value < high);
    // A coin for each of 400 questions: a standard error of about 0.5 / 20.
    assert.ok(Math.abs((high - low) / (2 * 1.96 * 0.025) - 1) < 0.2, `${low} to ${high}`);
    assert.ok(Math.abs(value - 0.5) < 0.1);
  });

  it('is null where references gain nothing, and without a bound where they may gain nothing', () => {
    assert.equal(shareOfGain([1, 2], [2, 2], [1, 1], seededRandom(4)), null);
    const share = shareOfGain([3, 1], [1, 2], [2, 1], seededRandom(4));
    assert.equal(share?.value, 1);
    assert.equal(share?.low, Number.NEGATIVE_INFINITY);
    const better = shareOfGain([3, 1], [1, 2], [2, 0], seededRandom(4));
    assert.deepEqual([better?.value, better?.high], [2, Number.POSITIVE_INFINITY]);
    assert.ok(better && better.low > 0, 'what memory gains where text does not counts for it');
  });
});

describe('the difference of two ways of reading', () => {
  it('does not count what is hard for both as noise', () => {
    const random = seededRandom(5);
    const hardness = Array.from({ length: 200 }, () => 10 * random());
    const exact = meanDifference(
      hardness.map((value) => value + 0.25),
      hardness,
      seededRandom(6),
    );
    for (const value of Object.values(exact)) assert.ok(Math.abs(value - 0.25) < 1e-9);
    const noisy = meanDifference(
      hardness.map((value) => value + 0.25 + random() - 0.5),
      hardness,
      seededRandom(7),
    );
    // Uniform noise of deviation 0.289 over 200 questions: a standard error of about 0.02.
    assert.ok(Math.abs((noisy.high - noisy.low) / (2 * 1.96 * 0.0204) - 1) < 0.2, `${noisy.low} to ${noisy.high}`);
    assert.ok(noisy.low < noisy.value && noisy.value < noisy.high);
  });

  it('is over what both have, and noise where its interval holds 0 or fewer than six have both', () => {
    const better = (count: number) => {
      const ids = [...'abcdefgh'].slice(0, count + 1);
      const own = new Map(ids.map((id) => [id, 2]));
      return pairedDifference(own, new Map([...ids.slice(1), 'x'].map((id) => [id, 1])), seededRandom(8));
    };
    assert.deepEqual(better(6), { value: 1, low: 1, high: 1, items: 6, noise: false });
    assert.deepEqual(better(5), { value: 1, low: 1, high: 1, items: 5, noise: true });
    assert.equal(better(0).noise, true);
    const clear = { low: 0.1, high: 0.2 };
    assert.deepEqual([isNoise(clear, [6, 9]), isNoise(clear, [5, 900])], [false, true]);
    assert.deepEqual([isNoise({ low: -0.1, high: 0.2 }, [9]), isNoise({ low: -0.2, high: -0.1 }, [9])], [true, false]);
  });
});
