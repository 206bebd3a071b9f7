import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { wordsOf } from '../../bank/words.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { bandRows, estimateSimilarity, MinHasher, NearDuplicates, shingleHashes } from './minhash.ts';
import { readDocuments } from './readers.ts';

const library = fileURLToPath(new URL('../../../assets/library', import.meta.url));
const texts = await Array.fromAsync(readDocuments([`${library}/*.{txt,md}`]), ({ text }) => wordsOf(text));

function exactSimilarity(a: readonly string[], b: readonly string[], size = 5): number {
  const shingles = (words: readonly string[]) =>
    new Set(
      words.slice(0, Math.max(1, words.length - size + 1)).map((_, i) =>
        words
          .slice(i, i + size)
          .join(' ')
          .toLowerCase(),
      ),
    );
  const [first, second] = [shingles(a), shingles(b)];
  return first.intersection(second).size / first.union(second).size;
}

/** Replaces each word with a probability. */
function edited(words: readonly string[], share: number, seed: number): string[] {
  const random = seededRandom(seed);
  return words.map((word, n) => (random() < share ? `edit${n}` : word));
}

describe('MinHash', () => {
  it('estimates the Jaccard similarity of real texts and their edits', () => {
    const hasher = new MinHasher(128, 1);
    const signature = (words: readonly string[]) => hasher.signature(shingleHashes(words, 5));
    for (const [index, words] of texts.entries()) {
      for (const share of [0, 0.01, 0.03, 0.1, 0.3]) {
        const other = edited(words, share, index);
        const exact = exactSimilarity(words, other);
        // Four standard deviations.
        const tolerance = 4 * Math.sqrt((exact * (1 - exact)) / 128) + 1e-9;
        const estimate = estimateSimilarity(signature(words), signature(other));
        assert.ok(Math.abs(estimate - exact) <= tolerance, `text ${index}, ${share}: ${estimate}, exact ${exact}`);
      }
    }
  });

  it('is unbiased with the variance of 128 independent orders', () => {
    const random = seededRandom(5);
    const number = () => Math.floor(random() * 2 ** 32);
    for (const similarity of [0.2, 0.5, 0.8]) {
      const shared = Math.round(600 * similarity);
      const errors = Array.from({ length: 60 }, (_, seed) => {
        const common = Array.from({ length: shared }, number);
        const own = () => Array.from({ length: (600 - shared) / 2 }, number);
        const hasher = new MinHasher(128, seed + 1);
        const [a, b] = [own(), own()].map((rest) => hasher.signature(Uint32Array.from([...common, ...rest])));
        return estimateSimilarity(a as Uint32Array, b as Uint32Array) - similarity;
      });
      const deviation = Math.sqrt((similarity * (1 - similarity)) / 128);
      const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
      const variance = errors.reduce((sum, error) => sum + error * error, 0) / errors.length;
      assert.ok(Math.abs(mean) < (4 * deviation) / Math.sqrt(errors.length), `mean error ${mean} at ${similarity}`);
      const ratio = Math.sqrt(variance) / deviation;
      assert.ok(ratio > 0.65 && ratio < 1.4, `${ratio} of the expected deviation at ${similarity}`);
    }
  });

  it('does not see case, order of sets or repetition, and sees the order of words', () => {
    const hasher = new MinHasher(64, 3);
    const words = fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'Bee', 'bee'), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(words, fc.integer({ min: 1, max: 6 }), (some, size) => {
        const signature = hasher.signature(shingleHashes(some, size));
        assert.deepEqual(hasher.signature(shingleHashes(some, size).toReversed()), signature);
        assert.deepEqual(
          hasher.signature(
            shingleHashes(
              some.map((word) => word.toUpperCase()),
              size,
            ),
          ),
          signature,
        );
        const hashes = shingleHashes(some, size);
        assert.deepEqual(hasher.signature(Uint32Array.from([...hashes, ...hashes])), signature);
      }),
    );
    const [forward, backward] = [
      ['a', 'b'],
      ['b', 'a'],
    ].map((pair) => hasher.signature(shingleHashes(pair, 2)));
    assert.notDeepEqual(forward, backward);
  });

  it('bands find a pair at the threshold, and no longer ones would', () => {
    for (const threshold of [0.5, 0.7, 0.8, 0.9]) {
      const recall = (rows: number) => 1 - (1 - threshold ** rows) ** Math.floor(128 / rows);
      const rows = bandRows(threshold, 128);
      assert.ok(recall(rows) >= 0.995 && recall(rows + 1) < 0.995);
    }
    assert.equal(bandRows(0.8, 128), 6);
  });
});

describe('near duplicates', () => {
  it('of real texts are found as their exact similarity says', () => {
    // Pieces of 200 words, then each again with more and more edits.
    const pieces = texts.flatMap((words) =>
      Array.from({ length: Math.floor(words.length / 200) }, (_, n) => words.slice(n * 200, (n + 1) * 200)),
    );
    const duplicates = new NearDuplicates();
    const numbers = pieces.map((piece) => {
      const found = duplicates.add(piece);
      assert.ok(found === null || exactSimilarity(pieces[found.of] as string[], piece) > 0.65);
      return found;
    });
    assert.ok(
      numbers.every((found) => found === null),
      'the pieces differ',
    );
    let [found, missed] = [0, 0];
    for (const [number, piece] of pieces.entries()) {
      for (const share of [0.005, 0.01, 0.05]) {
        const other = edited(piece, share, number);
        const exact = exactSimilarity(piece, other);
        if (exact > 0.68 && exact < 0.9) continue; // Where the estimate's noise decides.
        const before = duplicates.counts;
        const duplicate = duplicates.add(other);
        assert.equal(duplicates.counts.removed - before.removed, duplicate === null ? 0 : 1);
        assert.equal(duplicates.counts.kept - before.kept, duplicate === null ? 1 : 0);
        if (exact <= 0.68) assert.equal(duplicate, null, `similarity ${exact}`);
        else if (duplicate === null) missed++;
        else {
          found++;
          assert.equal(duplicate.of, number);
        }
      }
    }
    assert.ok(found > 50 && missed <= found / 100, `${found} found, ${missed} missed`);
  });

  it('stay found while the table grows', () => {
    const duplicates = new NearDuplicates({ permutations: 32 });
    const random = seededRandom(9);
    const text = () => Array.from({ length: 12 }, () => `w${Math.floor(random() * 1e6)}`);
    const many = Array.from({ length: 6000 }, text);
    for (const words of many) assert.equal(duplicates.add(words), null);
    for (const number of [0, 1, 4095, 4096, 5999]) {
      assert.deepEqual(duplicates.add(many[number] as string[]), { of: number, similarity: 1 });
    }
    assert.deepEqual(duplicates.counts, { kept: 6000, removed: 5 });
  });

  it('of short and empty texts are equal texts', () => {
    const duplicates = new NearDuplicates();
    assert.equal(duplicates.add(['one', 'two']), null);
    assert.equal(duplicates.add(['one']), null);
    assert.deepEqual(duplicates.add(['One', 'two']), { of: 0, similarity: 1 });
    assert.equal(duplicates.add([]), null);
    assert.deepEqual(duplicates.add([]), { of: 2, similarity: 1 });
    assert.throws(() => new NearDuplicates({ threshold: 2 }), { code: 'usage', message: /threshold/ });
  });
});
