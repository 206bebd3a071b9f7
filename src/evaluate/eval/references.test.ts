/** The overlap filter by hand: tokens are characters. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StoredReference } from '../../bank/bank.ts';
import { ReferenceFinder } from './references.ts';

const tokenizer = {
  encode: (text: string) => Array.from(text, (character) => character.codePointAt(0) as number),
  decode: (ids: readonly number[]) => String.fromCodePoint(...ids),
};

/** A bank that always finds the same, best first. */
function bankOf(texts: readonly string[]) {
  const asked: { query: string; count: number }[] = [];
  const hits = texts.map((text, id) => ({
    reference: { id, text, tokens: tokenizer.encode(text) } as unknown as StoredReference,
    score: 1,
  }));
  const find = async (query: string, count: number) => {
    asked.push({ query, count });
    return { hits: hits.slice(0, count), times: { embed: 0, search: 0 } };
  };
  return { find, asked };
}

const ids = (references: readonly StoredReference[]) => references.map(({ id }) => id);
const item = { query: 'abc', text: 'abcdefxyz' };
// Of each six characters 6, 4, 5, 0 and 4 stand in the text in order: overlaps 1, 2/3, 5/6, 0, 2/3.
const texts = ['abcdef', 'abcdkk', 'abcdek', 'kkkkkk', 'kabckd'];

describe('references of an item', () => {
  it('are left out above the threshold, not at it', async () => {
    const finder = new ReferenceFinder(bankOf(texts), tokenizer, { most: 3, overlap: 2 / 3 });
    const { references, leftOut } = await finder.find('x', item, 3);
    assert.deepEqual([ids(references), leftOut], [[1, 3, 4], 2]);
    const first = await finder.find('x', item, 1);
    assert.deepEqual([ids(first.references), first.leftOut], [[1], 1], 'only better ones are counted');
  });

  it('with 0.8, and without a filter', async () => {
    const strict = new ReferenceFinder(bankOf(texts), tokenizer, { most: 2, overlap: 0.8 });
    assert.deepEqual(ids((await strict.find('x', item, 2)).references), [1, 3]);
    const open = new ReferenceFinder(bankOf(texts), tokenizer, { most: 2, overlap: null });
    const { references, leftOut } = await open.find('x', item, 2);
    assert.deepEqual([ids(references), leftOut], [[0, 1], 0]);
  });

  it('are looked for further down until there are enough, or no more', async () => {
    const many = bankOf([...Array.from({ length: 30 }, () => 'abcdef'), 'kkkkkk']);
    const finder = new ReferenceFinder(many, tokenizer, { most: 1, overlap: 2 / 3 });
    const { references, leftOut } = await finder.find('x', item, 1);
    assert.deepEqual([ids(references), leftOut], [[30], 30]);
    assert.deepEqual(
      many.asked.map(({ count }) => count),
      [9, 18, 36],
    );
    await finder.find('x', item, 1);
    assert.equal(many.asked.length, 3, 'an item is searched for once');
    finder.forget();
    await finder.find('x', item, 1);
    assert.equal(many.asked.length, 6);
    const none = new ReferenceFinder(bankOf(['abcdef']), tokenizer, { most: 1, overlap: 2 / 3 });
    assert.deepEqual(await none.find('x', item, 1), { references: [], leftOut: 1 });
  });

  it('are found by the last 64 tokens', async () => {
    const bank = bankOf(texts);
    const finder = new ReferenceFinder(bank, tokenizer, { most: 1, overlap: null });
    await finder.find('x', { query: `${'a'.repeat(70)}${'b'.repeat(60)}`, text: 'a' }, 1);
    assert.equal(bank.asked[0]?.query, `aaaa${'b'.repeat(60)}`);
  });
});
