import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../generate/sampling.ts';
import { overlap, overlapExceeds } from './overlap.ts';

/** The textbook's dynamic programme. */
function commonSubsequence(a: readonly number[], b: readonly number[]): number {
  let above = new Array<number>(b.length + 1).fill(0);
  for (const token of a) {
    const row = [0];
    for (const [j, other] of b.entries()) {
      row.push(token === other ? (above[j] as number) + 1 : Math.max(above[j + 1] as number, row[j] as number));
    }
    above = row;
  }
  return above[b.length] as number;
}

/** Equation 6 word for word: every span of the text that is not too long. */
function bruteForce(text: readonly number[], reference: readonly number[]): number {
  let longest = 0;
  for (let start = 0; start < text.length; start++) {
    for (let end = start + 1; end <= Math.min(text.length, start + 2 * reference.length); end++) {
      longest = Math.max(longest, commonSubsequence(text.slice(start, end), reference));
    }
  }
  return longest / reference.length;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);

describe('overlap', () => {
  it('is what is computed by hand', () => {
    assert.equal(overlap([], [1]), 0);
    assert.equal(overlap([5, 6], [1, 2]), 0);
    assert.equal(overlap([9, 1, 2, 3, 9], [1, 2, 3]), 1);
    assert.equal(overlap([1, 2, 9, 3, 4], [1, 2, 3, 5]), 3 / 4);
    // Backwards only one token can match.
    assert.equal(overlap([3, 2, 1], [1, 2, 3]), 1 / 3);
    // The span of 1 ... 2 is 4 tokens, as long as it may be; then 5, too long.
    assert.equal(overlap([1, 9, 9, 2], [1, 2]), 1);
    assert.equal(overlap([1, 9, 9, 9, 2], [1, 2]), 1 / 2);
    // Matched twice, it counts once.
    assert.equal(overlap([1, 1, 1, 1], [1, 2]), 1 / 2);
    assert.throws(() => overlap([1], []), { code: 'usage' });
    assert.throws(() => overlapExceeds([1], [], 0.9), { code: 'usage' });
  });

  it('equals the definition on small cases', () => {
    const tokens = (maxLength: number, minLength = 0) => fc.array(fc.nat({ max: 3 }), { minLength, maxLength });
    fc.assert(
      fc.property(tokens(14), tokens(5, 1), (text, reference) => {
        const expected = bruteForce(text, reference);
        assert.equal(overlap(text, reference), expected);
        for (const threshold of [0, 0.25, 0.5, 2 / 3, 0.9, 1]) {
          assert.equal(overlapExceeds(text, reference, threshold), expected > threshold);
        }
      }),
      { numRuns: 600 },
    );
  });

  it('equals the definition where windows matter: references hidden in long texts with gaps', () => {
    const random = seededRandom(4);
    for (let round = 0; round < 12; round++) {
      const reference = Array.from({ length: 12 }, () => Math.floor(random() * 9));
      const gap = round % 5;
      const hidden = reference.flatMap((token) => [
        token,
        ...Array.from({ length: gap }, () => 10 + Math.floor(random() * 9)),
      ]);
      const noise = () => Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 19));
      const text = [...noise(), ...hidden, ...noise(), ...hidden.slice(0, 9), ...noise()];
      const expected = bruteForce(text, reference);
      assert.equal(overlap(Uint32Array.from(text), Uint16Array.from(reference)), expected);
      for (const threshold of [0.5, 0.7, 0.9, expected]) {
        assert.equal(overlapExceeds(text, reference, threshold), expected > threshold);
      }
    }
  });

  it('finds a reference with a tenth of its tokens lost anywhere in a sequence, at full size', () => {
    const reference = range(0, 125);
    const noise = (length: number) => range(1000, 1000 + length);
    for (const start of [0, 700, 1935]) {
      for (const losses of [0, 12, 13]) {
        // Every ninth token, until there are enough.
        const kept = reference.filter((token) => token % 9 !== 4 || token > losses * 9);
        const text = [...noise(start), ...kept, ...noise(2048)].slice(0, 2048);
        const matched = Math.min(125 - losses, 2048 - start);
        assert.equal(overlap(text, reference), matched / 125);
        assert.equal(overlapExceeds(text, reference, 0.9), matched >= 113);
      }
    }
    assert.equal(overlapExceeds(noise(2048), reference, 0.9), false);
    assert.equal(overlapExceeds([...noise(900), ...reference.toReversed(), ...noise(900)], reference, 0.9), false);
  });
});
