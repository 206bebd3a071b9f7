import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rowBudget, wordQuery, wordsOf } from './words.ts';

describe('words', () => {
  it('are cut in every script, without punctuation', () => {
    assert.deepEqual(wordsOf('The café, 3.14 — and “more”!'), ['The', 'café', '3.14', 'and', 'more']);
    assert.deepEqual(wordsOf('北京是中国的首都。'), ['北京', '是', '中国', '的', '首都']);
    assert.deepEqual(wordsOf(' ,.;'), []);
  });

  it('of a query are quoted, each once, the rarest first', () => {
    const rows: Record<string, number> = { tower: 3, iron: 2, missing: 0 };
    const query = wordQuery('Iron "tower" OR missing iron*', 100, (word) => rows[word] ?? 0);
    assert.equal(query, '"iron" OR "tower"');
  });

  it('that more than half of the references hold are left out, unless there are no others', () => {
    const rows: Record<string, number> = { the: 9, of: 6, tower: 5 };
    const count = (word: string) => rows[word] ?? 0;
    assert.equal(wordQuery('the tower of', 10, count), '"tower"');
    assert.equal(wordQuery('of the', 10, count), '"of" OR "the"');
  });

  it('are taken while they are in few enough rows together', () => {
    const rows: Record<string, number> = { a: rowBudget + 1, b: rowBudget - 10, c: 10, d: 11 };
    const count = (word: string) => rows[word] ?? 0;
    assert.equal(wordQuery('a b c', 1e6, count), '"c" OR "b"');
    assert.equal(wordQuery('a b d', 1e6, count), '"d"');
    assert.equal(wordQuery('a', 1e6, count), undefined);
  });
});
