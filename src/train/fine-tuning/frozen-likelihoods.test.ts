import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../../test/support/temporary.ts';
import { frozenLikelihoods } from './frozen-likelihoods.ts';

/** Likelihoods of some pairs, and for which they were asked. */
function counting() {
  const asked: number[] = [];
  const compute = async (index: number) => {
    asked.push(index);
    return { chosen: -index - 0.1, rejected: -index / 3 };
  };
  return { asked, compute };
}
const expected = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ chosen: -index - 0.1, rejected: -index / 3 })).map(
    ({ chosen, rejected }) => ({ chosen, rejected: rejected + 0 }),
  );

describe('frozenLikelihoods', () => {
  it('are computed once, and go on behind the last whole line', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'run', 'frozen.jsonl');
    const stop = new AbortController();
    const first = counting();
    const progress: number[] = [];
    await assert.rejects(
      frozenLikelihoods(path, 'f', 6, first.compute, {
        signal: stop.signal,
        onProgress: (done) => {
          progress.push(done);
          if (done === 3) stop.abort();
        },
      }),
      { name: 'AbortError' },
    );
    assert.deepEqual(
      [first.asked, progress],
      [
        [0, 1, 2],
        [1, 2, 3],
      ],
    );
    // A crash in the middle of a line.
    truncateSync(path, readFileSync(path).length - 4);
    const second = counting();
    assert.deepEqual(await frozenLikelihoods(path, 'f', 6, second.compute), expected(6));
    assert.deepEqual(second.asked, [2, 3, 4, 5]);
    const third = counting();
    assert.deepEqual(await frozenLikelihoods(path, 'f', 6, third.compute), expected(6));
    assert.deepEqual(third.asked, []);
    // Zeros where a disk lost what was written.
    const kept = readFileSync(path, 'utf8').split('\n').slice(0, 3).join('\n');
    writeFileSync(path, `${kept}\n`);
    appendFileSync(path, '\0\0\0\0\n{"chosen": 1, "rejected": 2}\n');
    const fourth = counting();
    assert.deepEqual(await frozenLikelihoods(path, 'f', 6, fourth.compute), expected(6));
    assert.deepEqual(fourth.asked, [2, 3, 4, 5]);
  });

  it('of something else, or of no model, are refused', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'frozen.jsonl');
    const { compute, asked } = counting();
    await frozenLikelihoods(path, 'f', 2, compute);
    await assert.rejects(frozenLikelihoods(path, 'other', 2, compute), { code: 'mismatch' });
    const replacing = counting();
    await frozenLikelihoods(path, 'other', 1, replacing.compute, { replace: true });
    assert.deepEqual(await frozenLikelihoods(path, 'other', 1, replacing.compute), expected(1));
    assert.deepEqual(replacing.asked, [0]);
    writeFileSync(path, 'something else\n');
    await assert.rejects(frozenLikelihoods(path, 'f', 2, compute), { code: 'damaged' });
    assert.deepEqual(asked, [0, 1]);
    const broken = async () => ({ chosen: Number.NaN, rejected: 0 });
    await assert.rejects(frozenLikelihoods(join(folder.path, 'nan.jsonl'), 'f', 1, broken), { code: 'diverged' });
  });
});
