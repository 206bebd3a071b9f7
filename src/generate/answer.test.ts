import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEvaluated } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { type AnswerSummary, answer } from './answer.ts';

test('an answer counts its own memories, not those of earlier answers', async () => {
  using folder = temporaryFolder();
  await using evaluated = await openEvaluated(folder.path);
  const ask = async (question: string): Promise<AnswerSummary> => {
    const events = await Array.fromAsync(
      answer(evaluated, [{ role: 'user', content: question }], { maxTokens: 2, memories: 3 }),
    );
    const end = events.at(-1);
    assert.ok(end?.kind === 'end');
    return end.summary;
  };
  const first = await ask('Who built bridge 5?');
  assert.deepEqual(first.memoryCounts, { cacheHits: 0, cacheMisses: 3, written: 3, notStored: 0 });
  const second = await ask('Who built bridge 5?');
  assert.deepEqual(second.memoryCounts, { cacheHits: 3, cacheMisses: 0, written: 0, notStored: 0 });
});
