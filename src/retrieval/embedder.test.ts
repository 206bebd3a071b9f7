import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import golden from '../../test/golden/embedder.json' with { type: 'json' };
import { Memory3Error } from '../errors.ts';
import { modelPath } from '../hub/fetch.ts';
import { Device } from '../runtime/device.ts';
import { type Embedder, openEmbedder } from './embedder.ts';
import { type EmbedderCard, embedderCards, findEmbedderCard } from './embedder-cards.ts';

const miniLm = findEmbedderCard('all-minilm-l6-v2');
const texts = golden.map(({ text }) => text);

const cosine = (a: Float32Array, b: ArrayLike<number>): number =>
  a.reduce((sum, value, index) => sum + value * (b[index] as number), 0);

function assertSameDirections(actual: readonly Float32Array[], expected: readonly ArrayLike<number>[]): void {
  assert.equal(actual.length, expected.length);
  for (const [index, vector] of actual.entries()) {
    assert.ok(Math.abs(cosine(vector, vector) - 1) < 1e-5, `text ${index}: not of unit length`);
    const similarity = cosine(vector, expected[index] as ArrayLike<number>);
    assert.ok(similarity > 1 - 1e-5, `text ${index}: cosine ${similarity}`);
  }
}

describe('embedder', () => {
  let device: Device;
  let embedder: Embedder;
  const open = (card: Partial<EmbedderCard>): Promise<Embedder> =>
    openEmbedder(miniLm.model, device, { card: { ...miniLm, ...card } });

  before(async () => {
    device = new Device({ threads: 2 });
    embedder = await openEmbedder('all-minilm-l6-v2', device);
  });
  after(async () => {
    await embedder[Symbol.asyncDispose]();
    await device[Symbol.asyncDispose]();
  });

  it('equals the vectors of Python (mean pooling), one text at a time and in one batch', async () => {
    const expected = golden.map(({ mean }) => mean);
    const alone = [];
    for (const text of texts) alone.push(...(await embedder.embedPassages([text])));
    assertSameDirections(alone, expected);
    assertSameDirections(await embedder.embedPassages(texts), expected);
    assertSameDirections(await embedder.embedPassages(texts.toReversed()), expected.toReversed());
  });

  it('equals the vectors of Python with the first token’s vector (BGE’s pooling)', async () => {
    await using first = await open({ pooling: 'cls' });
    assertSameDirections(
      await first.embedPassages(texts),
      golden.map(({ cls }) => cls),
    );
  });

  it('puts the card’s prefix before queries only', async () => {
    await using prefixed = await open({ queryPrefix: 'When did ' });
    const question = 'When did the oil crisis begin?';
    const [whole] = await embedder.embedPassages([question]);
    assertSameDirections(await prefixed.embedQueries(['the oil crisis begin?']), [whole as Float32Array]);
    assertSameDirections(await prefixed.embedPassages([question]), [whole as Float32Array]);
  });

  it('reads a text that is longer than the model’s input to its end', async () => {
    const filler = 'The weather was fine and nothing happened on this day. '.repeat(60);
    const [plain, end] = await embedder.embedPassages([filler, `${filler}Blue whales are the largest animals.`]);
    const [whales] = await embedder.embedQueries(['largest whales']);
    assert.ok(
      cosine(end as Float32Array, whales as Float32Array) >
        cosine(plain as Float32Array, whales as Float32Array) + 0.01,
    );
    // Windows of 5 tokens each, weighted equally: the mean of the parts.
    await using narrow = await open({ maxTokens: 7 });
    const [a, b] = await embedder.embedPassages(['one two three four five', 'six seven eight nine ten']);
    const mean = (a as Float32Array).map((value, index) => value + ((b as Float32Array)[index] as number));
    const norm = Math.sqrt(cosine(mean, mean));
    assertSameDirections(await narrow.embedPassages(['one two three four five six seven eight nine ten']), [
      mean.map((value) => value / norm),
    ]);
  });

  it('has a fingerprint of what decides its vectors', async () => {
    await using same = await open({});
    await using other = await open({ pooling: 'cls' });
    assert.match(embedder.fingerprint, /^[0-9a-f]{64}$/);
    assert.equal(same.fingerprint, embedder.fingerprint);
    assert.notEqual(other.fingerprint, embedder.fingerprint);
    assert.equal(embedder.dimensions, 384);
  });

  it('opens a folder, and says what is wrong with one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'all-minilm-l6-v2-'));
    try {
      await assert.rejects(openEmbedder(folder, device), /holds no ONNX model/);
      await symlink(await modelPath(miniLm.model), join(folder, 'model.onnx'));
      await using inFolder = await openEmbedder(folder, device);
      assert.equal(inFolder.fingerprint, embedder.fingerprint);

      const card: EmbedderCard = { ...miniLm, tokenizer: null };
      await assert.rejects(openEmbedder(folder, device, { card }), /has no tokenizer/);
      await writeFile(join(folder, 'tokenizer.json'), '{"model": {}}');
      await assert.rejects(
        openEmbedder(folder, device, { card }),
        (error) => error instanceof Memory3Error && error.code === 'damaged',
      );
      await using wrong = await openEmbedder(folder, device, { card: { ...miniLm, dimensions: 512 } });
      await assert.rejects(wrong.embedPassages(['text']), /float32\[1,3,384\].*expects.*512/s);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('embedder cards', () => {
  it('are found by the name in a path or reference', () => {
    assert.equal(findEmbedderCard('hf:Xenova/bge-small-en-v1.5/onnx/model.onnx').pooling, 'cls');
    assert.equal(findEmbedderCard('/models/BAAI/BGE-M3/model.onnx').queryPrefix, '');
    assert.throws(() => findEmbedderCard('/models/unheard-of'), /no embedder card.*all-minilm-l6-v2/s);
    for (const card of embedderCards) assert.equal(findEmbedderCard(card.model), card);
  });
});
