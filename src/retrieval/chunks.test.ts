import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { readGoldenLines } from '../../test/support/golden.ts';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { defaultLanguageModel } from '../hub/catalogue.ts';
import { modelPath } from '../hub/fetch.ts';
import { openGguf } from '../model/gguf.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { tokenizerFromGguf } from '../model/tokenizer-gguf.ts';
import { bodyTokens, type Chunk, cutIntoChunks } from './chunks.ts';

let tokenizer: Tokenizer;
before(async () => {
  using file = openGguf(await modelPath(defaultLanguageModel));
  tokenizer = tokenizerFromGguf(file.metadata);
});

const texts = readGoldenLines<{ readonly text: string }>('tokenizer.jsonl.gz').map(({ text }) => text);

function cut(text: string, maxTokens = 125, by = tokenizer): Chunk[] {
  return [...cutIntoChunks(text, by, { maxTokens })];
}

/** Everything that a cut text must be: exact offsets, nothing lost, limits kept, words whole. */
function check(text: string, maxTokens: number, by = tokenizer): Chunk[] {
  const chunks = cut(text, maxTokens, by);
  const words = new Intl.Segmenter('en', { granularity: 'word' }).segment(text);
  let position = 0;
  for (const chunk of chunks) {
    assert.equal(text.slice(chunk.start, chunk.end), chunk.text);
    assert.deepEqual(chunk.tokens, bodyTokens(by, chunk.text));
    assert.ok(chunk.tokens.length <= maxTokens, `${chunk.tokens.length} tokens`);
    assert.ok(chunk.start >= position && chunk.end > chunk.start);
    assert.match(text.slice(position, chunk.start), /^\s*$/u);
    assert.ok(!/^[\udc00-\udfff]/.test(chunk.text), 'begins with half a character');
    for (const edge of [chunk.start, chunk.end]) {
      const word = words.containing(edge);
      if (word === undefined || word.index === edge) continue;
      assert.ok(bodyTokens(by, word.segment).length > maxTokens, `cuts ${JSON.stringify(word.segment)} at ${edge}`);
    }
    position = chunk.end;
  }
  assert.match(text.slice(position), /^\s*$/u);
  return chunks;
}

describe('cutting a document', () => {
  it('keeps all rules for any text and limit', () => {
    const piece = fc.oneof(
      fc.constantFrom(...texts),
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
      fc.constantFrom(
        ' ',
        '\n',
        '\n\n',
        '\r\n\r\n',
        '. ',
        '\ufeff',
        'word',
        'long'.repeat(60),
        '👩‍👩‍👧'.repeat(20),
        '他是中国人。',
      ),
      fc.constantFrom(
        `e${'\u0301'.repeat(200)}`,
        'e\u0301'.repeat(100),
        '\u0004\u0006'.repeat(50),
        '\u{40000}'.repeat(9),
      ),
    );
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(text, fc.integer({ min: 8, max: 130 }), (document, maxTokens) => {
        check(document, maxTokens);
      }),
      { numRuns: 100 },
    );
  });

  it('keeps them with a tokenizer that normalises', () => {
    const qwen = tokenizerFromGguf(byteLevelMetadata());
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('e\u0301', 'hello', ' ', '. ', '\n\n', '한') }), (document) => {
        check(document, 16, qwen);
      }),
    );
  });

  it('cuts long texts of every kind close to full length', () => {
    const english = texts.filter((text) => /^[\p{ASCII}–’“”]{200,}$/u.test(text)).join('\n\n');
    const chinese = texts.filter((text) => /\p{Script=Han}{9}/u.test(text)).join('\n');
    for (const document of [english, chinese]) {
      const chunks = check(document, 125);
      assert.ok(chunks.length > 15);
      const mean = chunks.reduce((sum, { tokens }) => sum + tokens.length, 0) / chunks.length;
      assert.ok(mean > 80, `${mean} tokens on average`);
    }
  });

  it('is the same however often it is done', () => {
    const document = texts.join('\n');
    assert.deepEqual(cut(document), cut(document));
  });
});

describe('where a document is cut', () => {
  const sentence = (words: number) => `First ${'word '.repeat(words - 2)}end.`;

  it('nowhere if it fits, and white space alone is nothing', () => {
    assert.deepEqual(
      cut('  Short.\n\nTwo paragraphs. \n').map(({ text }) => text),
      ['Short.\n\nTwo paragraphs.'],
    );
    assert.deepEqual(cut(' \n\t '), []);
    assert.deepEqual(cut(''), []);
  });

  it('at the end of a paragraph that fills at least half', () => {
    const paragraphs = [sentence(40), sentence(40), sentence(60), sentence(20)];
    const chunks = cut(paragraphs.join('\n\n'));
    assert.deepEqual(
      chunks.map(({ text }) => text),
      [paragraphs.slice(0, 2).join('\n\n'), paragraphs.slice(2).join('\n\n')],
    );
  });

  it('else at the end of a sentence', () => {
    const chunks = cut(`${sentence(20)}\n\n${sentence(50)} ${sentence(30)} ${sentence(50)}`);
    assert.deepEqual(
      chunks.map(({ text }) => text),
      [`${sentence(20)}\n\n${sentence(50)} ${sentence(30)}`, sentence(50)],
    );
  });

  it('not at the end of a line within a sentence, where lines are wrapped', () => {
    const wrapped = `${sentence(60)} Then ${'word word word word word word word\n'.repeat(12)}end.`;
    assert.equal(cut(wrapped)[0]?.text, sentence(60));
  });

  it('else between words', () => {
    const chunks = cut('word '.repeat(300).trim());
    assert.deepEqual(
      chunks.map(({ tokens }) => tokens.length),
      [125, 125, 50],
    );
    assert.ok(chunks.every(({ text }) => text.startsWith('word') && text.endsWith('word')));
  });

  it('in Chinese at the end of a sentence', () => {
    const chunks = cut('他在一九八四年出生于北京，是著名的历史学家。'.repeat(10));
    assert.ok(chunks.length > 1);
    assert.ok(chunks.every(({ text }) => text.endsWith('。')));
  });

  it('within a word only if it is too long by itself, between graphemes, and nothing of it is lost', () => {
    const word = '👩‍👩‍👧'.repeat(40);
    const chunks = cut(`Before ${'e\u0301'.repeat(300)}\n${word} after`);
    assert.equal(
      chunks
        .map(({ text }) => text)
        .join('')
        .replaceAll(/\s/g, ''),
      `Before${'e\u0301'.repeat(300)}${word}after`,
    );
    assert.ok(chunks.every(({ text }) => !/^[\u0301\u200d]/.test(text)));
  });

  it('refuses a limit that one character could pass', () => {
    assert.throws(() => cut('text', 7), /at least 8 tokens, not 7/);
    const qwen = tokenizerFromGguf(byteLevelMetadata());
    // One code point that NFC takes apart into three of four bytes each.
    const note = '\u{1d160}';
    assert.equal(cut(`a ${note}${note}`, 13, qwen).length, 3);
    assert.throws(() => cut(`a ${note}`, 12, qwen), /12 tokens is too short: .* alone has 13 tokens/);
  });
});
