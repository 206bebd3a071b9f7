import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gapsOf } from './gaps.ts';

describe('gaps', () => {
  it('are where names and numbers stand, in whole sentences, but not at their beginning', () => {
    const text =
      'Paris has been praised since 1,887 by the Bank of England\nand 12.5 % of its guests. It rained. Ann met Bob.';
    assert.deepEqual(gapsOf(text), [
      {
        sentence: 'Paris has been praised since ___ by the Bank of England and 12.5 % of its guests.',
        answer: '1,887',
      },
      {
        sentence: 'Paris has been praised since 1,887 by the ___ and 12.5 % of its guests.',
        answer: 'Bank of England',
      },
      {
        sentence: 'Paris has been praised since 1,887 by the Bank of England and ___ of its guests.',
        answer: '12.5 %',
      },
    ]);
  });

  it('are not where the sentence gives the answer away', () => {
    assert.deepEqual(gapsOf('The city of Rome is older than anything that is in Rome today.'), []);
  });

  it('are no parts of words', () => {
    assert.deepEqual(gapsOf('The prices of oil fell again in the 1980s and for the 28th time.'), []);
  });

  it('keep the words nearest to them', () => {
    const words = (count: number, word: string) =>
      Array.from({ length: count }, (_, i) => `${word}${'x'.repeat(i % 3)}`);
    const [gap] = gapsOf([...words(40, 'a'), 'Oslo', ...words(40, 'b')].join(' '));
    assert.equal(gap?.answer, 'Oslo');
    const sides = gap?.sentence.split('___') ?? [];
    assert.deepEqual(
      sides.map((side) => side.trim().split(' ').length),
      [18, 18],
    );
  });
});
