/** Finding references with the real embedder and a real bank; the tokenizer has a token for each byte. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { byteLevelMetadata } from '../../../test/support/small-tokenizer.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import type { MemoryBank } from '../../bank/bank.ts';
import { longestBody } from '../../memory/profile.ts';
import { tokenizerFromGguf } from '../../model/tokenizer-gguf.ts';
import { type Embedder, openEmbedder } from '../../retrieval/embedder.ts';
import { Device } from '../../runtime/device.ts';
import { addKnowledge, type KnowledgeParts, openKnowledge } from './knowledge.ts';
import { overlap } from './overlap.ts';
import { readDocuments } from './readers.ts';
import { ReferenceFile, writeReferences } from './reference-file.ts';
import { type ChunkChoice, countChoices, findReferences, type ReferenceParts } from './references.ts';
import { TokenFile, TokenFileWriter } from './token-file.ts';

const library = fileURLToPath(new URL('../../../assets/library', import.meta.url));
const tokenizer = tokenizerFromGguf(byteLevelMetadata());
const header = [0, 1, 2];
const sequenceLength = 4 * 64;

let folder: TemporaryFolder;
let device: Device;
let embedder: Embedder;
let knowledge: KnowledgeParts;
let bank: MemoryBank;
let parts: ReferenceParts;
let texts: string[];

before(async () => {
  folder = temporaryFolder();
  device = new Device();
  embedder = await openEmbedder('all-minilm-l6-v2', device);
  knowledge = { tokenizer, header, embedder };
  const inputs = ['allan-dwan.txt', 'international-atomic-time.txt'].map((name) => join(library, name));
  const documents = await Array.fromAsync(readDocuments(inputs));
  texts = documents.map(({ text }) => text);
  bank = openKnowledge(join(folder.path, 'knowledge.memory3'), knowledge, 'write');
  const short = documents.map((document) => ({ ...document, text: document.text.slice(0, 2400) }));
  const events = await Array.fromAsync(addKnowledge(bank, knowledge, short));
  assert.deepEqual(
    events.map(({ outcome }) => outcome),
    ['added', 'added'],
  );
  const again = await Array.fromAsync(addKnowledge(bank, knowledge, short));
  assert.deepEqual(
    again.map(({ outcome }) => outcome),
    ['unchanged', 'unchanged'],
  );
  parts = { bank, embedder, tokenizer };
});
after(async () => {
  bank[Symbol.dispose]();
  await embedder[Symbol.asyncDispose]();
  await device[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const textOf = (choice: ChunkChoice | undefined) =>
  choice?.reference === null || choice === undefined ? '' : tokenizer.decode(Array.from(choice.reference.tokens));

describe('knowledge', () => {
  it('belongs to a tokenizer, a header and an embedder', () => {
    const path = join(folder.path, 'knowledge.memory3');
    const other = tokenizerFromGguf(byteLevelMetadata({ merges: ['h e', 'l l'] }));
    assert.throws(() => openKnowledge(path, { ...knowledge, tokenizer: other }, 'read'), { code: 'mismatch' });
    const remedy = `Prepare into another folder, or delete ${path} to make it anew.`;
    assert.throws(() => openKnowledge(path, { ...knowledge, header: [0, 1] }, 'read'), {
      code: 'mismatch',
      message: /another header of references\./,
      remedy,
    });
    using again = openKnowledge(path, knowledge, 'read');
    assert.equal(again.stats().documents, 2);
    assert.equal(again.stats().memories, 0);
  });
});

describe('references of chunks', () => {
  it('are found by meaning and words, one a chunk', async () => {
    const about = 'Allan Dwan directed silent films in Hollywood, a pioneer of the motion picture industry. ';
    const clocks = 'Hundreds of atomic clocks in national laboratories are averaged into International Atomic Time. ';
    const sequence = [about, clocks].flatMap((text) => tokenizer.encode(text.repeat(3)).slice(0, 128));
    const choices = await findReferences(parts, sequence);
    assert.equal(choices.length, 4);
    const names = choices.map(({ reference }) => (reference ? bank.reference(reference.id).documentName : null));
    assert.match(names[0] as string, /allan-dwan/);
    assert.match(names[3] as string, /atomic-time/);
    for (const { reference } of choices) {
      assert.ok(reference !== null && reference.tokens.length > 0 && reference.tokens.length <= longestBody(knowledge));
      assert.deepEqual([...(reference.tokens as number[])], bank.reference(reference.id).tokens);
    }
  });

  it('never give the sequence away: what stands in it is refused and the next is taken', async () => {
    // A stretch of the knowledge itself.
    const sequence = tokenizer.encode(texts[0]?.slice(300, 1400) as string).slice(0, sequenceLength);
    const free = await findReferences(parts, sequence, { maxOverlap: 1 });
    const inSequence = free.filter(({ reference }) => overlap(sequence, reference?.tokens ?? [0]) > 0.9);
    assert.ok(inSequence.length > 0, 'without the guard the sequence is given away');
    const guarded = await findReferences(parts, sequence);
    assert.ok(countChoices(guarded).refused >= inSequence.length);
    for (const [chunk, choice] of guarded.entries()) {
      assert.ok(choice.reference !== null);
      assert.ok(overlap(sequence, choice.reference.tokens) <= 0.9, textOf(choice));
      if (choice.refused === 0) assert.deepEqual(choice, free[chunk]);
    }
  });

  it('are none where every candidate is refused, and where a chunk has no text', async () => {
    const sequence = tokenizer.encode(`${texts[0]?.slice(0, 128)}${' '.repeat(128)}`);
    const choices = await findReferences(parts, sequence, { maxOverlap: -1, candidates: 3 });
    assert.deepEqual(
      choices.map(({ reference, refused }) => [reference, refused]),
      [
        [null, 3],
        [null, 3],
        [null, 0],
        [null, 0],
      ],
    );
    assert.deepEqual(countChoices(choices), { found: 0, none: 4, refused: 6 });
    await assert.rejects(findReferences(parts, sequence.slice(1)), { code: 'usage', message: /255 tokens/ });
  });
});

describe('files of references', () => {
  const write = async (corpus: TokenFile, path: string, using: ReferenceParts = parts) =>
    Array.fromAsync(writeReferences(corpus, using, path, longestBody(knowledge)));
  const makeCorpus = (name: string, text: string) => {
    const path = join(folder.path, name);
    using writer = new TokenFileWriter(path, {
      sequenceLength,
      vocabularySize: tokenizer.vocabularySize,
      documentStart: tokenizer.bosTokenId,
    });
    writer.add(tokenizer.encode(text));
    writer.finish();
    return new TokenFile(path);
  };

  it('hold what was found, and are continued after an interruption without searching again', async () => {
    using corpus = makeCorpus('some.tokens', (texts[1] as string).slice(0, 1600));
    const path = join(folder.path, 'some.references');
    const progress = await write(corpus, path);
    assert.equal(corpus.count, 6);
    assert.deepEqual(
      progress.map(({ done }) => done),
      [1, 2, 3, 4, 5, 6],
    );
    const { counts } = progress.at(-1) as (typeof progress)[number];
    assert.equal(counts.found + counts.none, 6 * 4);
    {
      using file = new ReferenceFile(path);
      for (const index of [5, 0, 3]) {
        const expected = await findReferences(parts, corpus.sequence(index));
        const flat = (choices: readonly ChunkChoice[]) =>
          choices.map(({ reference, refused }) => [reference?.id, Array.from(reference?.tokens ?? []), refused]);
        assert.deepEqual(flat(file.choices(index)), flat(expected));
      }
      assert.throws(() => file.choices(6), { code: 'usage' });
    }

    let searches = 0;
    const counting: ReferenceParts = {
      ...parts,
      embedder: {
        embedQueries: (queries) => {
          searches++;
          return embedder.embedQueries(queries);
        },
      },
    };
    assert.deepEqual(await write(corpus, path, counting), [{ done: 6, total: 6, counts }]);
    assert.equal(searches, 0);

    // As a killed process leaves it: three whole records, half of the fourth.
    const whole = readFileSync(path);
    const half = `${path}.2.unfinished`;
    writeFileSync(half, whole);
    const record = (whole.length - 1024) / 6;
    truncateSync(half, Math.floor(1024 + 3.5 * record));
    assert.deepEqual((await write(corpus, `${path}.2`, counting)).at(-1), { done: 6, total: 6, counts });
    assert.equal(searches, 3);
    assert.deepEqual(readFileSync(`${path}.2`), whole);
    assert.ok(!existsSync(half));

    // A record that a power failure left empty is found again, with all behind it.
    writeFileSync(`${path}.3.unfinished`, Buffer.from(whole).fill(0, 1024 + 4 * record, 1024 + 5 * record));
    await write(corpus, `${path}.3`, counting);
    assert.equal(searches, 5);
    assert.deepEqual(readFileSync(`${path}.3`), whole);
  });

  it('of knowledge whose texts have changed are found anew, though it has as many documents as before', async () => {
    using corpus = makeCorpus('changed.tokens', (texts[0] as string).slice(0, 300));
    const path = join(folder.path, 'changed.references');
    using changing = openKnowledge(join(folder.path, 'changing.memory3'), knowledge, 'write');
    const found = async (text: string) => {
      await Array.fromAsync(addKnowledge(changing, knowledge, [{ id: 'a', text }]));
      await write(corpus, path, { ...parts, bank: changing });
      using file = new ReferenceFile(path);
      return textOf(file.choices(0)[0]).trim();
    };
    assert.equal(await found('Dwan made silent films.'), 'Dwan made silent films.');
    assert.equal(await found('Dwan began in Chicago.'), 'Dwan began in Chicago.');
    assert.equal(changing.stats().documents, 1);
  });

  it('of another corpus are made anew, and damaged ones are refused', async () => {
    using first = makeCorpus('first.tokens', (texts[1] as string).slice(0, 300));
    using second = makeCorpus('second.tokens', (texts[1] as string).slice(300, 600));
    const path = join(folder.path, 'other.references');
    await write(first, path);
    const before = readFileSync(path);
    assert.equal((await write(second, path)).length, 1);
    const after = readFileSync(path);
    assert.notDeepEqual(after, before);
    const open = (bytes: Uint8Array) => new ReferenceFile(folder.write('damaged.references', bytes));
    const flipped = Buffer.from(after);
    flipped.writeUInt8(flipped.readUInt8(1100) ^ 1, 1100);
    using file = open(flipped);
    assert.throws(() => file.choices(0), { code: 'damaged', message: /sequence 0/ });
    assert.throws(() => open(after.subarray(0, -1)), { code: 'damaged', message: /promises 1/ });
    assert.throws(() => open(after.subarray(0, 99)), { code: 'damaged' });
    assert.throws(() => open(Buffer.alloc(2000)), { code: 'damaged', message: /not JSON/ });
    await assert.rejects(write(first, '/no/such/folder/x'), { code: 'disk' });
  });
});
