/** The ordinary model against Hugging Face transformers: logits, greedy text, perplexity (test/golden/README.md). */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ReadingContext } from '../../src/memory/context.ts';
import type { LanguageModel } from '../../src/memory/model.ts';
import { readGolden, readGoldenLines } from '../support/golden.ts';
import { tokenLikelihoods } from '../support/likelihoods.ts';
import { type DefaultModel, openDefaultModel } from '../support/model.ts';

interface LogitsCase {
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly token_nll: readonly number[];
  readonly last_top_ids: readonly number[];
  readonly last_top_logits: readonly number[];
  /** Short prompts only. */
  readonly greedy32: readonly number[] | null;
}

let opened: DefaultModel;
before(async () => {
  opened = await openDefaultModel();
});
after(() => opened[Symbol.asyncDispose]());

describe('logits', () => {
  it('equal the golden ones in f32, and so does greedy text where the choice is clear', async () => {
    for (const expected of readGolden<LogitsCase[]>('logits.json')) {
      await checkCase(opened.model('f32'), expected);
    }
  });
});

describe('perplexity', () => {
  interface Perplexity {
    readonly docs: readonly { readonly doc_id: string; readonly tokens: number; readonly nll: number }[];
    readonly mean_nll: number;
  }
  const expected = readGolden<Perplexity>('perplexity.json');
  const texts = readGoldenLines<{ doc_id: string; text: string }>('wikitext2-valid.jsonl.gz');

  it('equals the golden one in f32', async () => {
    for (const [index, nll] of (await meanLikelihoods('f32', 4)).entries()) {
      assert.ok(Math.abs(nll - (expected.docs[index]?.nll as number)) < 1e-3, `document ${index}: ${nll}`);
    }
  });

  it('is within 1 % when matrices stay in 4 and 8 bits', async () => {
    const nll = mean(await meanLikelihoods('file', expected.docs.length));
    const ratio = Math.exp(nll - expected.mean_nll);
    assert.ok(ratio < 1.01, `perplexity is ${ratio} of the f32 one`);
  });

  async function meanLikelihoods(precision: 'file' | 'f32', documents: number): Promise<number[]> {
    const means: number[] = [];
    for (const { tokens: count } of expected.docs.slice(0, documents)) {
      const tokens = opened.tokenizer.encode(texts[means.length]?.text as string).slice(0, count);
      await using context = await ReadingContext.open(opened.model(precision), { memory: null });
      means.push(mean(tokenLikelihoods(await context.extend([tokens], 'all'), tokens)));
    }
    return means;
  }
});

async function checkCase(model: LanguageModel, expected: LogitsCase): Promise<void> {
  await using context = await ReadingContext.open(model, { memory: null });
  const logits = await context.extend([expected.ids], 'all');
  for (const [index, nll] of tokenLikelihoods(logits, expected.ids).entries()) {
    assert.ok(Math.abs(nll - (expected.token_nll[index] as number)) < 1e-3, `${expected.prompt}: token ${index}: ${nll}`);
  }
  const width = model.config.vocabularySize;
  let last = logits.data.subarray((expected.ids.length - 1) * width);
  for (const [rank, id] of expected.last_top_ids.entries()) {
    const difference = Math.abs((last[id] as number) - (expected.last_top_logits[rank] as number));
    assert.ok(difference < 2e-3, `${expected.prompt}: logit of ${id} is off by ${difference}`);
  }
  for (const token of expected.greedy32 ?? []) {
    const [best, second] = last.toSorted().slice(-2).reverse() as unknown as [number, number];
    if (best - second <= 0.01) break;
    assert.equal(last.indexOf(best), token, expected.prompt);
    last = (await context.extend([[token]])).data;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
