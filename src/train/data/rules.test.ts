import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { wordsOf } from '../../bank/words.ts';
import { readDocuments } from './readers.ts';
import { brokenRules, measureText } from './rules.ts';

const library = fileURLToPath(new URL('../../../assets/library', import.meta.url));
const broken = (text: string) => brokenRules(measureText(text, wordsOf(text)));
const words = (count: number, word: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => word(n)).join(' ');
/** A different word of letters for each number. */
const letters = (n: number) => [...`${n + 100}`].map((digit) => 'abcdefghij'[Number(digit)]).join('');

describe('rules', () => {
  it('measure words, letters, repetition and entropy', () => {
    const measures = measureText('The cat, the dog: 12!', ['The', 'cat', 'the', 'dog', '12']);
    assert.equal(measures.words, 5);
    assert.equal(measures.meanWordLength, 14 / 5);
    // ",", ":", "1", "2", "!" of 17 characters.
    assert.equal(measures.nonAlphabetic, 5 / 17);
    assert.equal(measures.uniqueWords, 4 / 5);
    const expected = -(2 / 5) * Math.log(2 / 5) - 3 * (1 / 5) * Math.log(1 / 5);
    assert.ok(Math.abs(measures.entropy - expected) < 1e-12);
    assert.deepEqual(measureText(' \n', []), {
      words: 0,
      meanWordLength: 0,
      nonAlphabetic: 0,
      uniqueWords: 0,
      entropy: 0,
    });
  });

  it('take the share of different words of every hundred, whatever the length', () => {
    const text = words(1000, (n) => letters(n % 75));
    assert.equal(measureText(text, wordsOf(text)).uniqueWords, 0.75);
  });

  it('find each kind of poor text', () => {
    assert.deepEqual(broken(words(49, (n) => letters(n % 40))), ['few-words']);
    assert.deepEqual(broken(words(50, (n) => letters(n % 40))), []);
    assert.deepEqual(broken(words(100, (n) => `${letters(n % 80)}internationalisation`)), ['long-words']);
    assert.deepEqual(broken(words(100, (n) => `${n % 40} a${letters(n % 40)} ${'#'.repeat(20)}`)), ['non-alphabetic']);
    assert.deepEqual(broken(words(200, (n) => letters(n))), ['unique-words']);
    assert.deepEqual(broken(words(400, (n) => letters(n % 25))), ['unique-words']);
    assert.deepEqual(broken(words(60, (n) => letters(n % 19))), ['low-entropy']);
    assert.deepEqual(broken(words(400, () => 'buy')), ['unique-words', 'low-entropy']);
    assert.deepEqual(broken(''), ['few-words', 'unique-words', 'low-entropy']);
  });

  it('leave the library’s texts alone', async () => {
    for await (const { id, text } of readDocuments([`${library}/*.{txt,md}`])) assert.deepEqual(broken(text), [], id);
  });

  it('count Chinese words as a dictionary has them', () => {
    const text =
      '长江是亚洲最长的河流，全长约六千三百公里。它发源于青藏高原，流经十一个省级行政区，最后在上海注入东海。长江流域面积约一百八十万平方公里，' +
      '约占中国陆地面积的五分之一。流域内气候温和，雨量充沛，农业发达，自古以来就是中国重要的粮食产地。三峡工程是世界上规模最大的水利枢纽之一。';
    const { words: count, meanWordLength, nonAlphabetic } = measureText(text, wordsOf(text));
    assert.ok(count > 50 && count < 110, `${count} words`);
    assert.ok(meanWordLength > 1.2 && meanWordLength < 2.2, `${meanWordLength} characters`);
    assert.ok(nonAlphabetic < 0.15);
    assert.deepEqual(broken(text), []);
    assert.deepEqual(broken('注册登录'.repeat(100)), ['unique-words', 'low-entropy']);
  });
});
