import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { readJsonLines } from '../json-lines.ts';
import { containsAnswer, exactMatch, f1Score, normaliseAnswer } from './answers.ts';

const caseSchema = z.object({
  why: z.string(),
  answer: z.string(),
  right: z.array(z.string()),
  exact: z.number(),
  f1: z.number(),
});
const cases = readJsonLines(fileURLToPath(new URL('../../test/golden/answers.jsonl', import.meta.url)), caseSchema);

describe('exact match and F1 by the published definition (test/golden/answers.py)', () => {
  for (const { why, answer, right, exact, f1 } of cases) {
    it(why, () => {
      assert.equal(exactMatch(answer, right), exact, `exact of ${normaliseAnswer(answer)}`);
      assert.ok(Math.abs(f1Score(answer, right) - f1) < 1e-12, `F1 ${f1Score(answer, right)}, not ${f1}`);
    });
  }
});

describe('SQuAD answers, by hand', () => {
  it('ignores case, articles, punctuation and spaces', () => {
    assert.equal(normaliseAnswer('The  Denver "Broncos"!'), 'denver broncos');
    assert.equal(exactMatch('an  Apple.', ['apple']), 1);
    assert.equal(exactMatch('apples', ['apple', 'pear']), 0);
  });

  it('takes the best F1 over several right answers', () => {
    assert.equal(f1Score('Denver Broncos team', ['Broncos', 'Denver Broncos']), (2 * 2) / 5);
    assert.equal(f1Score('to be to be', ['to be']), (2 * 2) / 6);
    assert.equal(f1Score('北京市', ['北京']), (2 * 2) / 5);
  });

  it('finds a right answer within a longer one, by whole words or characters', () => {
    assert.equal(containsAnswer('It was the Denver Broncos who won.', ['Carolina', 'Denver Broncos']), 1);
    assert.equal(containsAnswer('Denver and the Broncos', ['Denver Broncos']), 0);
    assert.equal(containsAnswer('category', ['cat']), 0);
    assert.equal(containsAnswer('他在北京出生', ['北京']), 1);
    assert.equal(containsAnswer('', []), 1);
    assert.equal(containsAnswer('something', []), 0);
    assert.equal(containsAnswer('', ['something']), 0);
  });
});
