import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom } from '../../generate/sampling.ts';
import { corrupt, corruptions } from './corruption.ts';

const text = Array.from({ length: 60 }, (_, n) => `word${n} of the ${n % 7} river,`).join(' ');
const words = (of: string) => of.split(/\s+/);
const sorted = (of: string) => words(of).toSorted();

describe('corruptions', () => {
  it('are what they say', () => {
    const random = seededRandom(3);
    const shuffled = corrupt(text, 'shuffled', random);
    assert.notEqual(shuffled, text);
    assert.deepEqual(sorted(shuffled), sorted(text));

    const noisy = corrupt(text, 'symbols', random);
    assert.equal(noisy.length, text.length);
    const changed = [...noisy].filter((character, n) => character !== text[n]).length / text.length;
    assert.ok(changed > 0.12 && changed < 0.22, `${changed} of the characters changed`);

    const stuffed = words(corrupt(text, 'stuffed', random));
    assert.equal(stuffed.length, words(text).length);
    assert.ok(stuffed.every((word) => word.length > 4 && text.includes(word)));

    const lines = corrupt(text, 'boilerplate', random).split('\n');
    const scraps = lines.filter((line) => line.endsWith('...') && text.includes(line.slice(0, -3)));
    assert.ok(
      scraps.length > 0 && scraps.length < lines.length / 2,
      `${scraps.length} scraps in ${lines.length} lines`,
    );
  });

  it('are the same for the same random numbers, and of about the same length', () => {
    for (const kind of corruptions) {
      const corrupted = corrupt(text, kind, seededRandom(4));
      assert.equal(corrupted, corrupt(text, kind, seededRandom(4)));
      const ratio = words(corrupted).length / words(text).length;
      assert.ok(ratio > 0.8 && ratio < 1.25, `${kind}: ${ratio}`);
    }
  });
});
