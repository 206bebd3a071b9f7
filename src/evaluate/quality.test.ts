/** Quality against the plain transformer: a tiny random model, so that every number can be computed a second time. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { heldInMemory, openFamily } from '../../test/support/families.ts';
import { runPlainTransformer, softmax } from '../../test/support/plain-transformer.ts';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { LanguageModel } from '../memory/model.ts';
import { tokenizerFromGguf } from '../model/tokenizer-gguf.ts';
import { Device } from '../runtime/device.ts';
import { measureQuality, type QualityRow } from './quality.ts';
import type { QuestionItem } from './questions.ts';

const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const text = 'A BRIDGE OF 1887';
const item: QuestionItem = {
  question: 'WHEN',
  answers: ['1887'],
  references: [{ text, start: 0, end: text.length, tokens: tokenizer.encode(text) }],
};

it('measures likelihoods of answers in every mode, and the size of memories', async () => {
  using file = await openFamily('llama');
  await using device = new Device({ threads: 1 });
  const source = heldInMemory(file);
  const model = new LanguageModel(file, device, { precision: 'f32' });
  // Ids beyond the tiny vocabulary (bos among them) are folded into it.
  const small = {
    ...tokenizer,
    bosTokenId: 1,
    endTokenIds: [],
    encode: (one: string) => tokenizer.encode(one).map((id) => id % 128),
  };
  const rows: QualityRow[] = [];
  const options = {
    layers: ['all', 'last-1'],
    kept: [2, 'all'] as const,
    scoring: 'received',
    storage: 'f16',
    header: [1, 5] as [number, ...number[]],
    repeatPrompt: [],
  } as const;
  for await (const row of measureQuality(model, small, [item], options)) rows.push(row);

  const likelihood = (prefix: string) => {
    const prompt = [1, ...small.encode(`${prefix}Question: WHEN\nAnswer:`)];
    const target = small.encode(' 1887');
    const { logits } = runPlainTransformer(source, [...prompt, ...target]);
    const nll = target.map(
      (token, i) => -Math.log(softmax(logits[prompt.length - 1 + i] as number[])[token] as number),
    );
    return nll.reduce((sum, value) => sum + value, 0) / target.length;
  };
  const [none, rag, ...memory] = rows;
  assert.ok(Math.abs((none?.nll ?? 0) - likelihood('')) < 1e-4);
  assert.ok(Math.abs((rag?.nll ?? 0) - likelihood(`Reference: ${text}\n\n`)) < 1e-4);
  assert.deepEqual(
    memory.map(({ layers, kept, memories }) => [layers, kept, memories]),
    [
      ['all', 2, 1],
      ['all', 'all', 1],
      ['last-1', 2, 1],
      ['last-1', 'all', 1],
    ],
  );
  assert.equal(
    new Set(rows.map(({ nll }) => nll)).size,
    rows.length,
    'every mode and profile gives another likelihood',
  );
  const bytes = memory.map(({ bytesPerReference }) => bytesPerReference ?? 0) as [number, number, number, number];
  assert.ok(bytes[0] < bytes[1] && bytes[2] < bytes[0] && bytes[3] < bytes[1]);
});
