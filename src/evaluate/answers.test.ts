import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { exactMatch, f1Score, normaliseAnswer } from './answers.ts';

describe('SQuAD answers', () => {
  it('ignores case, articles, punctuation and spaces', () => {
    assert.equal(normaliseAnswer('The  Denver "Broncos"!'), 'denver broncos');
    assert.equal(exactMatch('an  Apple.', ['apple']), 1);
    assert.equal(exactMatch('apples', ['apple', 'pear']), 0);
    assert.equal(exactMatch('theory', ['ory']), 0);
  });

  it('takes the best F1 over several right answers', () => {
    assert.equal(f1Score('Denver Broncos team', ['Broncos', 'Denver Broncos']), (2 * 2) / 5);
    assert.equal(f1Score('Carolina', ['Denver']), 0);
    assert.equal(f1Score('to be to be', ['to be']), (2 * 2) / 6);
  });

  it('counts Chinese by character and an empty answer as right only where nothing is right', () => {
    assert.equal(f1Score('北京市', ['北京']), (2 * 2) / 5);
    assert.equal(f1Score('', ['']), 1);
    assert.equal(f1Score('', ['something']), 0);
    assert.equal(f1Score('the', ['a']), 1);
  });
});
