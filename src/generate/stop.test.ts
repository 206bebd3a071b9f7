import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StopStrings } from './stop.ts';

function stream(stops: readonly string[], pieces: readonly string[]): { text: string; found: string | null } {
  const filter = new StopStrings(stops);
  const text = pieces.map((piece) => filter.push(piece)).join('') + filter.end();
  return { text, found: filter.found };
}

/** Character by character over the whole text: the first place where some stop string is complete. */
function expected(stops: readonly string[], text: string): { text: string; found: string | null } {
  for (let end = 1; end <= text.length; end += 1) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) => b.length - a.length)[0];
    if (complete !== undefined) return { text: text.slice(0, end - complete.length), found: complete };
  }
  return { text, found: null };
}

test('a stop string across pieces is cut exactly before its first character', () => {
  assert.deepEqual(stream(['\nUser:'], ['Paris.', '\n', 'Us', 'er', ': next']), { text: 'Paris.', found: '\nUser:' });
  assert.deepEqual(stream(['\nUser:'], ['Paris.', '\nUs', 'age']), { text: 'Paris.\nUsage', found: null });
  assert.deepEqual(stream(['aab'], ['a', 'a', 'a', 'b', 'c']), { text: 'a', found: 'aab' });
  assert.deepEqual(stream([], ['a', 'b']), { text: 'ab', found: null });
});

test('only what could become a stop string is held back', () => {
  const filter = new StopStrings(['<end>']);
  assert.equal(filter.push('one <e'), 'one ');
  assert.equal(filter.push('x two'), '<ex two');
  assert.equal(filter.push(' <en'), ' ');
  assert.equal(filter.end(), '<en');
});

test('after a stop string nothing more comes', () => {
  const filter = new StopStrings(['.']);
  assert.equal(filter.push('a. b'), 'a');
  assert.equal(filter.push('c'), '');
  assert.equal(filter.end(), '');
  assert.equal(filter.found, '.');
});

test('an empty stop string is refused', () => {
  assert.throws(() => new StopStrings(['a', '']));
});

test('where the text is cut into pieces makes no difference', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 4 }), fc.array(letters, { maxLength: 12 }), (stops, pieces) => {
      assert.deepEqual(stream(stops, pieces), expected(stops, pieces.join('')));
    }),
    { numRuns: 2000 },
  );
});
