/** Perplexity with references against each chunk read by hand. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { tokenLikelihoods } from '../../../test/support/likelihoods.ts';
import { type TinyModel, tinyModel } from '../../../test/support/tiny-trained.ts';
import type { StoredReference } from '../../bank/bank.ts';
import { ReadingContext } from '../../memory/context.ts';
import { parseMemory } from '../../memory/format.ts';
import { LanguageModel } from '../../memory/model.ts';
import { writeMemories } from '../../memory/writer.ts';
import { Device } from '../../runtime/device.ts';
import { negativeLogLikelihood } from '../likelihood.ts';
import { parseMode } from './modes.ts';
import { ReferenceFinder } from './references.ts';
import { textNats, textReferences } from './texts.ts';

let tiny: TinyModel;
let device: Device;
let model: LanguageModel;
let text: readonly number[];
before(async () => {
  tiny = await tinyModel();
  device = new Device({ threads: 1 });
  model = new LanguageModel(tiny, device, { precision: 'f32' });
  const words = Array.from({ length: 40 }, (_, i) => `the theory ${i} of thing ${(7 * i) % 11} is`).join(' ');
  text = tiny.tokenizer.encode(words).slice(0, 150);
  assert.equal(text.length, 150, 'three chunks, the last one not whole');
});
after(() => device[Symbol.asyncDispose]());

const queries: string[] = [];
/** Recalls references that are numbered by the question's place. */
function finder(): ReferenceFinder {
  queries.length = 0;
  const find = async (query: string, count: number) => {
    const first = 10 * queries.push(query);
    const hits = Array.from({ length: count }, (_, i) => ({ score: 1, reference: reference(first + i) }));
    return { hits, times: { embed: 0, search: 0 } };
  };
  return new ReferenceFinder({ find }, tiny.tokenizer, { most: 2, overlap: null });
}

function reference(id: number): StoredReference {
  const body = `answer ${id} to thing ${id}`;
  return { id, text: body, tokens: tiny.tokenizer.encode(body) } as unknown as StoredReference;
}

async function memoriesOf(references: readonly { readonly tokens: readonly number[] }[]) {
  if (references.length === 0) return [];
  return (await writeMemories(model, tiny.profile, references)).map(parseMemory);
}

it('each chunk after the first has memories that the chunk before it recalls', async () => {
  const mode = parseMode('memory:2', 5);
  const found = await textReferences(finder(), tiny.tokenizer, mode, 'a', text);
  const chunks = [text.slice(0, 64), text.slice(64, 128), text.slice(128)];
  assert.deepEqual(
    queries,
    chunks.slice(0, 2).map((chunk) => tiny.tokenizer.decode(chunk).trim()),
  );
  const ids = found.byChunk.map((some) => some.map(({ id }) => id));
  assert.deepEqual(ids, [[], [10, 11], [20, 21]]);
  assert.deepEqual(
    found.references.map(({ id }) => id),
    ids.flat(),
  );

  const memory = { profile: tiny.profile, memories: 2 };
  await using byHand = await ReadingContext.open(model, { memory });
  let expected = 0;
  for (const [index, chunk] of chunks.entries()) {
    await byHand.useMemories(index === 0 ? [] : await memoriesOf([reference(10 * index), reference(10 * index + 1)]));
    const logits = await byHand.extend([chunk], 'all');
    const next = text.slice(64 * index + 1, 64 * index + 65);
    for (const [row, token] of next.entries()) expected += negativeLogLikelihood(logits, row, token);
  }
  await using context = await ReadingContext.open(model, { memory });
  const useMemories = async (chunk: number) => context.useMemories(await memoriesOf(found.byChunk[chunk] ?? []));
  const nats = await textNats(context, { tokens: text, before: [], useMemories });
  assert.ok(Math.abs(nats - expected) < 1e-2, `${nats}, not ${expected}`);
});

it('references as text stand in front of what follows the chunk that recalls them', async () => {
  const mode = parseMode('rag:2', 5);
  const found = await textReferences(finder(), tiny.tokenizer, mode, 'a', text);
  assert.deepEqual(queries, [tiny.tokenizer.decode(text.slice(0, 64)).trim()]);
  assert.equal(found.references.length, 2);
  const inFront = found.references.flatMap(({ tokens }) => tokens);
  await using byHand = await ReadingContext.open(model, { memory: null });
  const plain = tokenLikelihoods(await byHand.extend([text], 'all'), text);
  byHand.rewind(0);
  const both = [...inFront, ...text];
  const behind = tokenLikelihoods(await byHand.extend([both], 'all'), both).slice(inFront.length);
  const expected = [...plain.slice(0, 64), ...behind.slice(64)].reduce((sum, one) => sum + one, 0);
  await using context = await ReadingContext.open(model, { memory: null });
  const nats = await textNats(context, { tokens: text, before: inFront, useMemories: null });
  assert.ok(Math.abs(nats - expected) < 1e-2, `${nats}, not ${expected}`);
  assert.notEqual(
    expected,
    plain.reduce((sum, one) => sum + one, 0),
  );
});

it('a text of one chunk recalls nothing', async () => {
  for (const mode of ['memory:2', 'rag:2']) {
    const found = await textReferences(finder(), tiny.tokenizer, parseMode(mode, 5), 'a', text.slice(0, 64));
    assert.deepEqual([found.references, queries], [[], []]);
  }
});
