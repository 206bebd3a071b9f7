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
const chunk = (text: string) => ({ text, start: 0, end: text.length, tokens: tokenizer.encode(text) });
const other = 'BEES DANCE';
const item = (question: string, answer: string): QuestionItem => ({
  question,
  answers: [answer],
  references: [chunk(text), chunk(other)],
});
/** Prompts and answers of different lengths, one answer of a single token, side by side. */
const items = [item('WHEN', '1887'), item('WHAT IS IT', 'A'), item('OF', 'BRIDGE OF')];

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
    compared: ['all', 'last-1'].map((layers) => ({ layers, kept: [2, 'all'] as const })),
    references: [1, 2],
    scoring: 'received',
    storage: 'f16',
    header: [1, 5] as [number, ...number[]],
    repeatPrompt: [],
    seed: 0,
  } as const;
  const models = { none: model, rag: model, memory: model };
  const sets = [
    { name: 'first', items: items.slice(0, 2) },
    { name: 'second', items: items.slice(2) },
  ];
  for await (const row of measureQuality(models, small, sets, options)) rows.push(row);

  const likelihood = ({ question, answers }: QuestionItem, prefix: string) => {
    const prompt = [1, ...small.encode(`${prefix}Question: ${question}\nAnswer:`)];
    const target = small.encode(` ${answers[0]}`);
    const { logits } = runPlainTransformer(source, [...prompt, ...target]);
    const nll = target.map(
      (token, i) => -Math.log(softmax(logits[prompt.length - 1 + i] as number[])[token] as number),
    );
    return nll.reduce((sum, value) => sum + value, 0) / target.length;
  };
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const find = (wanted: Partial<QualityRow>) =>
    rows.filter((row) => Object.entries(wanted).every(([key, value]) => row[key as keyof QualityRow] === value));
  const close = (row: QualityRow | undefined, expected: number) =>
    assert.ok(Math.abs((row?.nll ?? 0) - expected) < 1e-4, `${row?.nll} instead of ${expected}`);

  // For three sets ("all" too): none; one and two references as text; four profiles with one and two.
  assert.equal(rows.length, 3 * (1 + 2 + 8));
  assert.deepEqual(
    find({ mode: 'none' }).map(({ set, items: count }) => [set, count]),
    [
      ['first', 2],
      ['second', 1],
      ['all', 3],
    ],
  );
  const none = items.map((one) => likelihood(one, ''));
  close(find({ mode: 'none', set: 'first' })[0], mean(none.slice(0, 2)));
  close(find({ mode: 'none', set: 'all' })[0], mean(none));
  const rag = items.map((one) => likelihood(one, `Reference: ${text}\n\n`));
  close(find({ mode: 'rag', set: 'all', references: 1 })[0], mean(rag));
  const orders = [text, other].map((first) => `Reference: ${first}\n\nReference: ${first === text ? other : text}\n\n`);
  const two = find({ mode: 'rag', set: 'second', references: 2 })[0]?.nll ?? 0;
  assert.ok(orders.some((prefix) => Math.abs(likelihood(items[2] as QuestionItem, prefix) - two) < 1e-4));

  const memory = find({ mode: 'memory', set: 'all', references: 1 });
  assert.deepEqual(
    memory.map(({ layers, kept }) => [layers, kept]),
    [
      ['all', 2],
      ['all', 'all'],
      ['last-1', 2],
      ['last-1', 'all'],
    ],
  );
  const ofAll = find({ set: 'all' });
  assert.equal(
    new Set(ofAll.map(({ nll }) => nll)).size,
    ofAll.length,
    'every mode and profile gives another likelihood',
  );
  for (const { nll, share } of memory) {
    const gain = mean(none) - mean(rag);
    if (gain <= 0) assert.equal(share, null);
    else assert.ok(Math.abs((share?.value ?? 0) - (mean(none) - nll) / gain) < 1e-3);
  }
  const bytes = memory.map(({ bytesPerReference }) => bytesPerReference ?? 0) as [number, number, number, number];
  assert.ok(bytes[0] < bytes[1] && bytes[2] < bytes[0] && bytes[3] < bytes[1]);
});

it('refuses questions with too few references or none at all, too long ones, layers and summary tokens that are not there', async () => {
  using file = await openFamily('llama');
  await using device = new Device({ threads: 1 });
  const model = new LanguageModel(file, device);
  const models = { none: model, rag: model, memory: model };
  const compared = [{ layers: 'all', kept: [2] }];
  const options = { compared, references: [5], scoring: 'received', storage: 'f16' } as const;
  const first = (some: QuestionItem[], changes = {}) =>
    measureQuality(models, tokenizer, [{ name: 'few', items: some }], {
      ...options,
      header: [1],
      repeatPrompt: [],
      seed: 0,
      ...changes,
    }).next();
  await assert.rejects(first(items), { code: 'usage', message: /few.*fewer than 5/ });
  await assert.rejects(first([]), { code: 'usage', message: /no question of few/ });
  const long = items.map((one) => ({ ...one, references: Array.from({ length: 9 }, () => chunk(text.repeat(9))) }));
  await assert.rejects(first(long, { references: [1, 9] }), {
    code: 'too-long',
    message: /question of few with 9 references as text takes \d{3,} tokens, more than the 256 .*--distractors/s,
  });
  await assert.rejects(first([item('WHY '.repeat(80), '1887')], { references: [1] }), {
    code: 'too-long',
    message: /question of few and its answer takes \d+ tokens, more than the 256/,
  });
  const beyond = { references: [1], compared: [{ layers: '99', kept: [2] }] };
  await assert.rejects(first(items, beyond), { code: 'usage', message: /"99" is no choice of memory layers/ });
  const summary = { references: [1], scoring: 'summary' };
  await assert.rejects(first(items, summary), { code: 'usage', message: /this model has none/ });
});
