import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SearchHit } from '../bank/bank.ts';
import { fuse, search } from './search.ts';

const hits = (...pairs: [referenceId: number, score: number][]): SearchHit[] =>
  pairs.map(([referenceId, score]) => ({ referenceId, score }));

const query = { text: 'blue whales', vector: Float32Array.of(1, 0) };

describe('reciprocal rank fusion', () => {
  it('adds reciprocal ranks', () => {
    const fused = fuse(hits([7, 0.9], [3, 0.8], [5, 0.1]), hits([3, 12], [9, 4]));
    assert.deepEqual(
      fused.map(({ referenceId, score }) => [referenceId, score]),
      [
        [3, 1 / 62 + 1 / 61],
        [7, 1 / 61],
        [9, 1 / 62],
        [5, 1 / 63],
      ],
    );
    assert.deepEqual(fused[0], {
      referenceId: 3,
      score: 1 / 62 + 1 / 61,
      vectors: { rank: 2, score: 0.8 },
      words: { rank: 1, score: 12 },
    });
    assert.equal(fused[1]?.words, null);
  });

  it('orders what ranks equally by reference id, whatever the order of the lists', () => {
    assert.deepEqual(
      fuse(hits([9, 0.5], [4, 0.4]), hits([4, 3], [9, 2])).map(({ referenceId }) => referenceId),
      [4, 9],
    );
    const ties = [fuse(hits([9, 0.5], [4, 0.5], [6, 0.1]), []), fuse(hits([4, 0.5], [9, 0.5], [6, 0.1]), [])];
    assert.deepEqual(ties[0], ties[1]);
    assert.deepEqual(
      ties[0]?.map(({ referenceId, vectors }) => [referenceId, vectors?.rank]),
      [
        [4, 1],
        [9, 1],
        [6, 3],
      ],
    );
  });
});

describe('search', () => {
  const asked: [string, number][] = [];
  const bank = {
    searchVectors: (_: Float32Array, count: number) => {
      asked.push(['vectors', count]);
      return hits([1, 0.9], [2, 0.8], [3, 0.7]).slice(0, count);
    },
    searchWords: (_: string, count: number) => {
      asked.push(['words', count]);
      return hits([3, 8], [4, 2]).slice(0, count);
    },
  };

  it('fuses more candidates than it returns', () => {
    asked.length = 0;
    const found = search(bank, query, { count: 2 });
    // Reference 3 wins though it is third among the vectors: both lists hold it.
    assert.deepEqual(
      found.map(({ referenceId }) => referenceId),
      [3, 1],
    );
    assert.deepEqual(asked, [
      ['vectors', 50],
      ['words', 50],
    ]);
    search(bank, query, { count: 80 });
    assert.equal(asked.at(-1)?.[1], 80);
  });

  it('asks one list only with the other modes, and keeps its scores', () => {
    asked.length = 0;
    assert.deepEqual(
      search(bank, query, { mode: 'vectors', count: 2 }).map(({ referenceId, score }) => [referenceId, score]),
      [
        [1, 0.9],
        [2, 0.8],
      ],
    );
    assert.deepEqual(
      search(bank, query, { mode: 'words', count: 5 }).map(({ referenceId, score }) => [referenceId, score]),
      [
        [3, 8],
        [4, 2],
      ],
    );
    assert.deepEqual(asked, [
      ['vectors', 2],
      ['words', 5],
    ]);
  });
});
