/** Likelihoods of continuations, read side by side and there and back, against each read by itself. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { tokenLikelihoods } from '../../../test/support/likelihoods.ts';
import { type TinyModel, tinyModel } from '../../../test/support/tiny-trained.ts';
import { ReadingContext } from '../../memory/context.ts';
import { LanguageModel } from '../../memory/model.ts';
import { Device } from '../../runtime/device.ts';
import { greedyAnswers } from '../greedy.ts';
import {
  type ContinuationLikelihood,
  continuationLikelihoods,
  encodeContinuations,
  textLikelihood,
} from './continuations.ts';

let tiny: TinyModel;
let device: Device;
let model: LanguageModel;
before(async () => {
  tiny = await tinyModel();
  device = new Device({ threads: 1 });
  model = new LanguageModel(tiny, device, { precision: 'f32' });
});
after(() => device[Symbol.asyncDispose]());

/** -log P of the tokens after the first `from`, all read at once. */
async function plain(tokens: readonly number[], from: number): Promise<number> {
  await using context = await ReadingContext.open(model, { memory: null });
  const likelihoods = tokenLikelihoods(await context.extend([tokens], 'all'), tokens);
  return likelihoods.slice(from - 1).reduce((sum, one) => sum + one, 0);
}

describe('continuations', () => {
  it('have the likelihoods that each has by itself, whatever stands beside it', async () => {
    const texts = [
      { prompt: 'the theory of', continuations: [' the thing', ' a', ' the answer to the question'] },
      { prompt: 'the answer to the question of the theory is', continuations: [' the thing'] },
      { prompt: 'q', continuations: ['uestion', ' theory'] },
    ];
    const batch = texts.map(({ prompt, continuations }) => encodeContinuations(tiny.tokenizer, prompt, continuations));
    await using context = await ReadingContext.open(model, { memory: null, batch: 3 });
    const likelihoods = await continuationLikelihoods(context, batch);
    for (const [element, { prompt, continuations }] of batch.entries()) {
      assert.equal(likelihoods[element]?.length, continuations.length);
      for (const [index, continuation] of continuations.entries()) {
        const expected = await plain([...prompt, ...continuation], prompt.length);
        const got: ContinuationLikelihood | undefined = likelihoods[element]?.[index];
        assert.equal(got?.tokens, continuation.length);
        assert.ok(Math.abs(-(got?.logLikelihood ?? 0) - expected) < 1e-4, `${got?.logLikelihood}, not ${-expected}`);
      }
    }
    assert.equal(context.length(1), 0, 'the context is what it was');
    assert.deepEqual(await continuationLikelihoods(context, batch), likelihoods);
    await assert.rejects(continuationLikelihoods(context, batch.slice(1)), { code: 'usage' });
    await assert.rejects(continuationLikelihoods(context, [...batch.slice(1), { prompt: [], continuations: [[1]] }]), {
      code: 'usage',
    });
  });

  it('are the same one behind the other in one sequence, prompts longer than a run among them', async () => {
    const text = 'the theory of the thing is the answer to the question '.repeat(8);
    const batch = [0, 900, 20, 300, 5, 40].map((start, index) =>
      encodeContinuations(tiny.tokenizer, index === 1 ? text.repeat(4) : text.slice(start, start + 60 + 9 * index), [
        ' the thing',
        ' a',
        ' the answer to the question',
      ]),
    );
    assert.ok((batch[1]?.prompt.length ?? 0) > 512, 'several runs');
    await using context = await ReadingContext.open(model, { memory: null });
    await context.begin([3, 4, 5]);
    const likelihoods = await continuationLikelihoods(context, batch);
    assert.equal(context.length(), 3);
    for (const [index, { prompt, continuations }] of batch.entries()) {
      for (const [choice, continuation] of continuations.entries()) {
        const expected = await plain([3, 4, 5, ...prompt, ...continuation], 3 + prompt.length);
        const got = likelihoods[index]?.[choice]?.logLikelihood ?? 0;
        assert.ok(Math.abs(-got - expected) < 1e-3, `prompt ${index}: ${got}, not ${-expected}`);
      }
    }
  });

  it('are greedy where greedy decoding writes them', async () => {
    const prompt = tiny.tokenizer.encode('the theory of the');
    await using context = await ReadingContext.open(model, { memory: null });
    const first = (await context.extend([prompt])).data;
    const likeliest = [...first].indexOf(Math.max(...first));
    const [written = ''] = await greedyAnswers(context, tiny.tokenizer, first, { maxTokens: 1, stop: '\n' });
    assert.equal(written, tiny.tokenizer.decode([likeliest]).split('\n')[0]?.trim());
    const padded = Float32Array.of(...first, Number.MAX_VALUE);
    assert.deepEqual(await greedyAnswers(context, tiny.tokenizer, padded, { maxTokens: 1, stop: '\n' }), [written]);
    context.rewind(0);
    const other = likeliest === 5 ? 6 : 5;
    const [likelihoods] = await continuationLikelihoods(context, [{ prompt, continuations: [[likeliest], [other]] }]);
    assert.deepEqual(
      likelihoods?.map(({ greedy }) => greedy),
      [true, false],
    );
  });

  it('are encoded with their prompt, and never empty', () => {
    const { prompt, continuations } = encodeContinuations(tiny.tokenizer, 'the theory', [' of', ' the thing']);
    assert.equal(tiny.tokenizer.decode([...prompt, ...(continuations[1] ?? [])]), 'the theory the thing');
    assert.ok(continuations.every(({ length }) => length > 0));
  });
});

it('a text in runs has the likelihood of the text at once', async () => {
  const tokens = tiny.tokenizer.encode('the theory of the thing is the answer to the question '.repeat(12));
  assert.ok(tokens.length > 128, `${tokens.length} tokens are more than one run`);
  await using context = await ReadingContext.open(model, { memory: null });
  const nats = await textLikelihood(context, tokens);
  assert.ok(Math.abs(nats - (await plain(tokens, 1))) < 1e-3 * tokens.length);

  const changes: number[] = [];
  context.rewind(0);
  const beforeRun = async (start: number) => void changes.push(start);
  const later = await textLikelihood(context, tokens, { first: 100, run: 64, beforeRun });
  assert.ok(Math.abs(later - (await plain(tokens, 100))) < 1e-3 * tokens.length);
  assert.deepEqual(
    changes,
    Array.from({ length: Math.ceil((tokens.length - 1) / 64) }, (_, run) => 64 * run),
  );
});
