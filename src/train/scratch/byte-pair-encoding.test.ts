import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import { scratchSpecialTokens, type TrainedTokenizer, trainBytePairs } from './byte-pair-encoding.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const golden = JSON.parse(readFileSync(`${root}test/golden/byte-pairs.json`, 'utf8')) as {
  readonly files: readonly string[];
  readonly also: string;
  readonly vocabularySize: number;
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [string, string])[];
};
const texts = [...golden.files.map((file) => readFileSync(`${root}assets/library/${file}`, 'utf8')), golden.also];

/** What tokenizer.json says of the vocabulary. */
function modelOf({ files }: TrainedTokenizer) {
  return (files.tokenizer as { model: { vocab: Record<string, number>; merges: unknown } }).model;
}

async function* streamed(pieces: readonly string[]): AsyncGenerator<string> {
  yield* pieces;
}

describe('trainBytePairs', () => {
  it("learns the vocabulary of Hugging Face's trainer, in its order", async () => {
    const trained = await trainBytePairs(streamed(texts), { vocabularySize: golden.vocabularySize });
    const { vocab, merges } = modelOf(trained);
    assert.deepEqual(merges, golden.merges);
    assert.deepEqual(vocab, Object.fromEntries(golden.tokens.map((token, id) => [token, id])));
    assert.equal(trained.vocabularySize, golden.vocabularySize);
    assert.equal(trained.texts, texts.length);
    assert.equal(trained.bytes, Buffer.byteLength(texts.join('')));
  });

  it('gives a tokenizer that gives back any text, and knows its special tokens', async () => {
    const tokenizer = openTokenizer((await trainBytePairs(texts, { vocabularySize: 500 })).files);
    assert.equal(tokenizer.vocabularySize, 500);
    assert.deepEqual(tokenizer.encodeWithSpecial(scratchSpecialTokens.bos), [tokenizer.bosTokenId]);
    assert.deepEqual(tokenizer.encodeWithSpecial(scratchSpecialTokens.end), tokenizer.endTokenIds);
    const nothingSpecial = tokenizer.encode(`${scratchSpecialTokens.bos}${scratchSpecialTokens.end}`);
    assert.ok(nothingSpecial.every((id) => !tokenizer.isSpecial(id)));
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc
        .array(fc.constantFrom(' the', '\u0000', '\n', '\t ', '\u0085', '\ufeff', '雨', '<|end_of_text|>'))
        .map((all) => all.join('')),
    );
    fc.assert(
      fc.property(text, (each) => assert.equal(tokenizer.decode(tokenizer.encode(each)), each)),
      {
        numRuns: 500,
      },
    );
  });

  it('needs fewer tokens than bytes for what it has learned', async () => {
    const [rainforest = ''] = texts;
    const tokenizer = openTokenizer((await trainBytePairs([rainforest], { vocabularySize: 700 })).files);
    assert.ok(tokenizer.encode(rainforest).length < 0.5 * rainforest.length);
  });

  it('stops where nothing occurs often enough, and says how far it came', async () => {
    const often = await trainBytePairs(['abc abc', 'abc'], { vocabularySize: 4096 });
    assert.deepEqual(modelOf(often).merges, [
      ['a', 'b'],
      ['ab', 'c'],
    ]);
    assert.equal(often.vocabularySize, 2 + 256 + 2);
    const rarely = await trainBytePairs(['abc abc', 'abc'], { minFrequency: 4 });
    assert.deepEqual(modelOf(rarely).merges, []);
  });

  it('drops the rarest words where there are too many, and keeps what is common', async () => {
    const rare = Array.from({ length: 500 }, (_, i) => `the rare${String.fromCodePoint(0x4e00 + i)} the`);
    const bounded = await trainBytePairs(rare, { mostWords: 20 });
    assert.ok(bounded.differentWords <= 20 && bounded.dropped > 400, `${bounded.differentWords}, ${bounded.dropped}`);
    assert.ok((modelOf(bounded).merges as string[][]).some(([left, right]) => `${left}${right}` === 'the'));
    assert.equal((await trainBytePairs(rare)).dropped, 0);
  });

  it('does not join texts', async () => {
    const trained = await trainBytePairs(['a', 'b', 'a', 'b'], { minFrequency: 1 });
    assert.deepEqual(modelOf(trained).merges, []);
  });

  it('refuses options and texts that give no tokenizer', async () => {
    await assert.rejects(trainBytePairs(['text'], { vocabularySize: 257 }), /vocabularySize/);
    await assert.rejects(trainBytePairs([]), /no text/);
    await assert.rejects(trainBytePairs(['']), /no text/);
  });
});
