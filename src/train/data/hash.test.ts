import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashText, mix } from './hash.ts';

test('FNV-1a gives the published values', () => {
  // http://www.isthe.com/chongo/tech/comp/fnv: of "", "a" and "foobar".
  assert.deepEqual(['', 'a', 'foobar'].map(hashText), [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
});

test('the finaliser changes half of the bits for every bit of its input', () => {
  for (let bit = 0; bit < 32; bit++) {
    let changed = 0;
    for (let n = 1; n <= 500; n++) {
      const value = Math.imul(n, 0x9e37_79b9);
      let difference = mix(value) ^ mix(value ^ (1 << bit));
      for (; difference !== 0; difference &= difference - 1) changed++;
    }
    // 16 000 fair coins, five standard deviations.
    assert.ok(Math.abs(changed / 500 - 16) < 0.65, `bit ${bit}: ${changed / 500} bits`);
  }
});
