import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Memory3Error } from '../errors.ts';
import { longestBody, type MemoryProfile, memoryLayers, memoryProfileSchema } from './profile.ts';

const range = (start: number, end: number) => Array.from({ length: end - start }, (_, i) => start + i);

describe('memory layers', () => {
  it('have names: half of the layers from the start or around the middle, the last ones, all', () => {
    assert.deepEqual(memoryLayers('first-half', 30), range(0, 15));
    assert.deepEqual(memoryLayers('first-half', 44), range(0, 22));
    assert.deepEqual(memoryLayers('middle', 44), range(11, 33));
    assert.deepEqual(memoryLayers('middle', 30), range(8, 23));
    assert.deepEqual(memoryLayers('middle', 2), [1]);
    assert.deepEqual(memoryLayers('last-half', 30), range(15, 30));
    assert.deepEqual(memoryLayers('last-half', 3), [1, 2]);
    assert.deepEqual(memoryLayers('last-20', 30), range(10, 30));
    assert.deepEqual(memoryLayers('last-1', 30), [29]);
    assert.deepEqual(memoryLayers('last-30', 30), range(0, 30));
    assert.deepEqual(memoryLayers('all', 3), [0, 1, 2]);
  });

  it('can be listed, in any order', () => {
    assert.deepEqual(memoryLayers([5, 3, 9], 30), [3, 5, 9]);
    assert.deepEqual(memoryLayers('9, 3,5,3', 30), [3, 5, 9]);
    assert.deepEqual(memoryLayers('0', 1), [0]);
  });

  it('must be layers of the model', () => {
    const wrong = [
      '',
      'second-half',
      'last-0',
      'last-31',
      'last-9999999999',
      'last-',
      'last-x',
      '30',
      '-1',
      '1.5',
      '1,,2',
      '0x1',
      'all,1',
    ];
    for (const choice of [...wrong, [30], [-1], [0.5], []]) {
      assert.throws(
        () => memoryLayers(choice, 30),
        (error) => error instanceof Memory3Error && error.code === 'usage' && /30 layers/.test(error.message),
        `${choice}`,
      );
    }
    assert.throws(() => memoryLayers('first-half', 1), Memory3Error);
  });
});

describe('a memory profile', () => {
  const profile: MemoryProfile = {
    ...{ layers: [1, 2], keptTokens: 8, scoring: 'received', storage: 'f16', header: [0, 5] },
  };

  it('says how long a body may be: header and summary tokens have to fit too', () => {
    assert.equal(longestBody({ header: [0, 5] }), 126);
    assert.equal(longestBody({ ...profile, keptTokens: 'all' }), 126);
    assert.equal(longestBody({ ...profile, scoring: 'summary' }), 118);
    assert.throws(() => longestBody({ ...profile, scoring: 'summary', keptTokens: 'all' }), { code: 'usage' });
  });

  it('is checked wherever it comes from', () => {
    assert.deepEqual(memoryProfileSchema.parse(profile), profile);
    assert.equal(memoryProfileSchema.parse({ ...profile, keptTokens: 'all' }).keptTokens, 'all');
    const wrong = [
      { layers: [] },
      { layers: [-1] },
      { keptTokens: 0 },
      { keptTokens: 129 },
      { keptTokens: 2.5 },
      { scoring: 'best' },
      { storage: 'f32' },
      { header: [] },
      { more: true },
    ];
    for (const change of wrong) {
      assert.equal(memoryProfileSchema.safeParse({ ...profile, ...change }).success, false, JSON.stringify(change));
    }
  });
});
