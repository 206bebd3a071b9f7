import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openEvaluated } from '../../test/support/evaluation.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { ReadingContext } from '../memory/context.ts';
import { type AnswerSummary, answer } from './answer.ts';

test('rows of a padded embedding that stand for no token are never drawn', async () => {
  using folder = temporaryFolder();
  await using evaluated = await openEvaluated(folder.path);
  const vocabularySize = 100;
  const tokenizer = { ...evaluated.tokenizer, vocabularySize, endTokenIds: [] };
  const options = { mode: 'none', maxTokens: 100, temperature: 10, topK: 0, topP: 1, minP: 0, seed: 1 } as const;
  const question = { role: 'user', content: 'Who built bridge 5?' } as const;
  const events = await Array.fromAsync(answer({ ...evaluated, tokenizer, recall: null }, [question], options));
  const end = events.at(-1);
  assert.ok(end?.kind === 'end');
  const drawn = end.trace.pieces.filter(({ stage }) => stage === 'answer').flatMap(({ tokens }) => tokens);
  assert.equal(drawn.length, 100);
  assert.ok(Math.max(...drawn) < vocabularySize);
});

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
  for (const { memoryCounts } of await Promise.all([ask('Who built bridge 5?'), ask('Who built bridge 7?')])) {
    assert.ok(memoryCounts);
    assert.equal(memoryCounts.cacheHits + memoryCounts.cacheMisses, 3, 'nor those of answers that are made beside it');
  }
});

test('the rate is that of the tokens that were written: neither what drew the end nor the caller counts', async (t) => {
  using folder = temporaryFolder();
  await using evaluated = await openEvaluated(folder.path);
  let clock = 0;
  t.mock.method(performance, 'now', () => clock);
  const { extend } = ReadingContext.prototype;
  t.mock.method(
    ReadingContext.prototype,
    'extend',
    function (this: ReadingContext, ...given: Parameters<typeof extend>) {
      clock += 20;
      return extend.apply(this, given);
    },
  );
  const ask = async (endTokenIds: readonly number[]) => {
    const tokenizer = { ...evaluated.tokenizer, endTokenIds };
    const options = { mode: 'none', maxTokens: 6, temperature: 10, seed: 1 } as const;
    const question = { role: 'user', content: 'Who built bridge 5?' } as const;
    for await (const event of answer({ ...evaluated, tokenizer, recall: null }, [question], options)) {
      if (event.kind === 'end') return event;
      clock += 1000;
    }
    throw new Error('no end');
  };
  const whole = await ask([]);
  const tokens = whole.trace.pieces.filter(({ stage }) => stage === 'answer').flatMap((piece) => piece.tokens);
  const ended = await ask(tokens.slice(3, 4));
  assert.deepEqual([whole.summary.answerTokens, ended.summary.answerTokens], [6, 3]);
  for (const { times } of [whole.summary, ended.summary]) {
    assert.equal(times.decodeTokensPerSecond?.toFixed(3), '50.000');
    assert.equal(times.firstToken, 20);
  }
});
