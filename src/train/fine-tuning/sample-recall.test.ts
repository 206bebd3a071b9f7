/** Recall for samples on a real bank, with an embedder that counts words. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { type TinyModel, tinyModel } from '../../../test/support/tiny-trained.ts';
import type { MemoryBank } from '../../bank/bank.ts';
import { openBank } from '../../bank/sqlite.ts';
import { bodyTokens } from '../../retrieval/chunks.ts';
import { encodeConversation, type TrainingSample } from './chat-examples.ts';
import { BankRecall } from './sample-recall.ts';

const words = ['bees', 'rain', 'clocks', 'winter', 'stone', 'paper', 'the'];
const texts = [
  'bees dance where flowers are',
  'rain falls in the winter',
  'clocks tell the winter from the summer',
  'stone is hard, paper is not',
  'bees sleep in the winter, and so do clocks',
  'rain on paper',
];

/** Unit vectors of word counts. */
function vectorOf(text: string): Float32Array {
  const counts = words.map((word) => 0.01 + text.split(word).length - 1);
  const length = Math.hypot(...counts);
  return Float32Array.from(counts, (count) => count / length);
}

let tiny: TinyModel;
let folder: TemporaryFolder;
let bank: MemoryBank;
let embedded: string[][] = [];
const embedder = {
  async embedQueries(queries: readonly string[]) {
    embedded.push([...queries]);
    return queries.map(vectorOf);
  },
};

before(async () => {
  tiny = await tinyModel();
  folder = temporaryFolder();
  const part = { name: 'test', fingerprint: 'f' };
  const identity = { model: part, profile: part, embedder: { ...part, dimensions: words.length } };
  bank = openBank(`${folder.path}/bank.memory3`, { mode: 'write', identity });
  for (const text of texts) {
    const reference = { text, start: 0, end: text.length, tokens: [1], vector: vectorOf(text) };
    bank.putDocument({ name: text, title: null, mediaType: 'text/plain', text, references: [reference] });
  }
});
after(() => {
  bank[Symbol.dispose]();
  folder[Symbol.dispose]();
});

function sample(question: string, answer: string): TrainingSample {
  const messages = [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ] as const;
  return encodeConversation({ template: null, tokenizer: tiny.tokenizer }, messages, { origin: 'test' });
}

function recall(options: ConstructorParameters<typeof BankRecall>[1] = {}, maxTokens = 100): BankRecall {
  return new BankRecall({ bank, embedder, tokenizer: tiny.tokenizer, maxTokens }, options);
}

const textsOf = (references: readonly { readonly id: number }[]) => references.map(({ id }) => bank.reference(id).text);

describe('BankRecall', () => {
  it('finds five for each chunk, by what the user said and not by the answer', async () => {
    const own = sample('What do bees do?', `${'stone paper '.repeat(20)}.`);
    const chunks = await recall().recall([own]);
    assert.equal(chunks.length, Math.ceil(own.tokens.length / 64));
    assert.ok(chunks.length > 1);
    for (const references of chunks) {
      assert.equal(references.length, 5);
      assert.match(textsOf(references)[0] as string, /bees/);
      for (const { id, tokens } of references) {
        assert.deepEqual(tokens, bodyTokens(tiny.tokenizer, bank.reference(id).text));
      }
    }
  });

  it('embeds a text once, and always finds the same', async () => {
    embedded = [];
    const own = sample('What do bees do?', `${'stone paper '.repeat(20)}.`);
    const first = await recall().recall([own]);
    assert.deepEqual(embedded, [['What do bees do?']]);
    assert.deepEqual(await recall().recall([own]), first);
  });

  it('refuses what gives a sample away, takes the next, and counts it', async () => {
    const own = sample(
      'rain in the winter?',
      'Well: rain falls in the winter, which is said to be a good thing for us all.',
    );
    const free = recall({ maxOverlap: 1, references: 1 });
    assert.deepEqual((await free.recall([own])).map(textsOf)[0], ['rain falls in the winter']);
    assert.deepEqual(free.counts, { found: 2, none: 0, refused: 0 });
    const [, next] = textsOf((await recall({ maxOverlap: 1, references: 2 }).recall([own]))[0] ?? []);
    const guarded = recall({ references: 1 });
    assert.deepEqual((await guarded.recall([own])).map(textsOf)[0], [next]);
    assert.deepEqual(guarded.counts, { found: 2, none: 0, refused: 1 });
    // Of a pair both answers count, and the chunks are the longer one's.
    const other = sample('rain in the winter?', 'No.');
    const pair = await recall({ references: 1 }).recall([other, own]);
    assert.deepEqual(pair.map(textsOf), [[next], [next]]);
  });

  it('refuses references that do not fit into a memory of this model', async () => {
    await assert.rejects(recall({}, 5).recall([sample('bees?', 'Yes.')]), {
      code: 'mismatch',
      message: /tokens for this model; 5 fit/,
    });
  });
});
