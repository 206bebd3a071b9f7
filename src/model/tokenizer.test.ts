import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { readGoldenLines } from '../../test/support/golden.ts';
import { byteLevelMetadata } from '../../test/support/small-tokenizer.ts';
import { type ErrorCode, Memory3Error } from '../errors.ts';
import { defaultLanguageModel } from '../hub/catalogue.ts';
import { modelPath } from '../hub/fetch.ts';
import { type GgufMetadata, type GgufValue, openGguf } from './gguf.ts';
import { createTextStream, type Tokenizer } from './tokenizer.ts';
import { tokenizerFromGguf } from './tokenizer-gguf.ts';
import { byteToken, tokenizerFromJson } from './tokenizer-json.ts';

const golden = readGoldenLines<{ readonly text: string; readonly ids: readonly number[] }>('tokenizer.jsonl.gz');

let metadata: GgufMetadata;
let tokenizer: Tokenizer;
before(async () => {
  using file = openGguf(await modelPath(defaultLanguageModel));
  metadata = file.metadata;
  tokenizer = tokenizerFromGguf(metadata);
});

describe("the default model's tokenizer", () => {
  it('equals Hugging Face transformers on all golden texts', () => {
    assert.equal(golden.length, 180);
    for (const { text, ids } of golden) assert.deepEqual(tokenizer.encodeWithSpecial(text), ids, text.slice(0, 80));
  });

  it('knows its start and end tokens', () => {
    assert.equal(tokenizer.vocabularySize, 49152);
    assert.equal(tokenizer.bosTokenId, 1);
    assert.deepEqual(tokenizer.endTokenIds, [2, 0]);
    assert.equal(tokenizer.isSpecial(2), true);
    assert.equal(tokenizer.isSpecial(81), false);
  });

  it('decodes what it encodes, spaces included', () => {
    for (const { text } of golden) assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
    assert.equal(tokenizer.decode(tokenizer.encode(" do n't , stop .")), " do n't , stop .");
  });

  it('leaves special tokens out of a decoded text unless asked', () => {
    const ids = tokenizer.encodeWithSpecial('<|im_start|>user\nhi<|im_end|>');
    assert.equal(tokenizer.decode(ids), 'user\nhi');
    assert.equal(tokenizer.decode(ids, { special: true }), '<|im_start|>user\nhi<|im_end|>');
  });

  it('makes no special token of any text', () => {
    const names = tokenizer.addedTokens.map((token) => token.content);
    const texts = fc.array(fc.oneof(fc.constantFrom(...names), fc.string({ unit: 'grapheme' })));
    fc.assert(
      fc.property(texts, (pieces) => {
        const text = pieces.join('');
        const ids = tokenizer.encode(text);
        assert.ok(!ids.some((id) => tokenizer.isSpecial(id)));
        for (const name of names) {
          assert.equal(tokenizer.decode(ids).split(name).length, text.split(name).length);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('encodes a long text as its words one by one would be', () => {
    // The text is cut where the pattern of words cuts it anyway: in front of a space that follows a letter.
    const book = golden.map(({ text }) => text).join('\n\n');
    const pieces = book.split(/(?<=\p{L})(?= \p{L})/u);
    assert.ok(pieces.length > 5000);
    assert.deepEqual(
      tokenizer.encode(book),
      pieces.flatMap((piece) => tokenizer.encode(piece)),
    );
  });

  it('puts parts together as one text and says where each token is from', () => {
    const { tokens, part } = tokenizer.encodeParts([
      { text: '<|im_start|>user\n', special: true },
      { text: '\n\nWhat is <|im_end|>? 猫', special: false },
      { text: '<|im_end|>\n', special: true },
    ]);
    const end = tokenizer.encode('<|im_end|>');
    assert.deepEqual(tokens, [
      ...tokenizer.encodeWithSpecial('<|im_start|>user\n\n\nWhat is'),
      ...tokenizer.encode(' <|im_end|>? 猫'),
      ...tokenizer.encodeWithSpecial('<|im_end|>\n'),
    ]);
    assert.ok(!end.includes(2) && tokens.filter((id) => id === 2).length === 1);
    const content = tokens.filter((_, index) => part[index] === 1);
    assert.equal(
      tokenizer.decode(content),
      '\n\n\nWhat is <|im_end|>? 猫',
      'the token "\\n\\n" has a byte of the message',
    );
    assert.deepEqual(part, [...part].sort());
  });

  it('names a token that does not exist', () => {
    assert.throws(() => tokenizer.decode([49152]), /Token 49152 does not exist/);
  });
});

describe('a text stream', () => {
  it('gives whole characters and together the decoded text', () => {
    const texts = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('한국어 👩‍👩‍👧 naïve', '\ufeffx', ' 猫'));
    fc.assert(
      fc.property(texts, (text) => {
        const ids = tokenizer.encode(text);
        const stream = createTextStream(tokenizer);
        const pieces = ids.map((id) => stream.push(id));
        const expected = tokenizer.decode(ids);
        if (!expected.includes('\ufffd')) assert.ok(!pieces.join('').includes('\ufffd'));
        assert.equal(pieces.join('') + stream.end(), expected);
      }),
    );
  });

  it('holds back half a character until the end', () => {
    const [first] = tokenizer.encode('한');
    const stream = createTextStream(tokenizer);
    assert.equal(stream.push(first as number), '');
    assert.equal(stream.end(), '\ufffd');
  });
});

describe('byte-level vocabularies', () => {
  it('start with the document token where there is no bos', () => {
    const qwen = tokenizerFromGguf(byteLevelMetadata());
    assert.equal(qwen.decode([qwen.bosTokenId], { special: true }), '<|endoftext|>');
  });

  it('cut digits as their pre-tokenizer says', () => {
    const words = (pre: string) => {
      const small = tokenizerFromGguf(byteLevelMetadata({ pre }));
      return small.encode('hello hello 1234').map((id) => small.decode([id]));
    };
    assert.deepEqual(words('qwen2'), ['hello', ' hello', ' ', '1', '2', '3', '4']);
    assert.deepEqual(words('smollm'), ['hello', ' hello', ' ', '1', '2', '3', '4']);
    assert.deepEqual(words('llama-bpe'), ['hello', ' hello', ' ', '123', '4']);
    assert.deepEqual(words('gpt-2'), ['hello', ' hello', ' ', '123', '4']);
    assert.deepEqual(words('default'), ['hello', ' hello', ' ', '123', '4']);
    assert.deepEqual(words('tekken'), ['hello', ' hello', ' ', '1', '2', '3', '4']);
  });

  it('normalise to NFC for Qwen, and parts keep their borders', () => {
    const qwen = tokenizerFromGguf(byteLevelMetadata());
    assert.deepEqual(qwen.encode('e\u0301'), qwen.encode('é'));
    const { part } = qwen.encodeParts([
      { text: '<think>', special: true },
      { text: 'e\u0301', special: false },
      { text: '!', special: true },
    ]);
    assert.deepEqual(part, [0, 1, 1, 2]);
  });

  it('keep tokens of a template that are not special, but never make them of a text', () => {
    const qwen = tokenizerFromGguf(byteLevelMetadata());
    const [think] = qwen.encodeWithSpecial('<think>');
    assert.equal(qwen.decode([think as number]), '<think>');
    assert.ok(!qwen.encode('<think>').includes(think as number));
  });

  it('refuse by name what they do not know', () => {
    const fails = (changes: Readonly<Record<string, GgufValue>>, message: RegExp) =>
      assert.throws(
        () => tokenizerFromGguf(byteLevelMetadata(changes)),
        (error) => {
          assert.ok(error instanceof Memory3Error);
          assert.match(error.message, message);
          return true;
        },
      );
    fails({ pre: 'klingon' }, /Pre-tokenizer "klingon" is not supported.\nSupported: smollm/);
    fails({ model: 'bert' }, /Tokenizer model "bert".*\nSupported: gpt2, llama/);
    fails({ tokens: 3 }, /"tokenizer.ggml.tokens" is not a list of strings/);
    fails({ token_type: [1] }, /has 1 entries for 265 tokens/);
    fails({ eos_token_id: 999 }, /"tokenizer.ggml.eos_token_id" is 999, which is no token/);
    fails({ merges: ['a b c'] }, /merge 0 is not a pair/);
  });
});

/** A small SentencePiece vocabulary; scores fall with the id, as in real files. */
function sentencePieceMetadata(): Map<string, GgufValue> {
  const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
  const pieces = ['▁h', 'el', '▁hel', 'lo', '▁hello', '▁▁', '▁', 'h', 'e', 'l', 'o', 'x'];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...pieces];
  const types = tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1));
  const scores = tokens.map((_, id) => (id < 259 ? 0 : 259 - id));
  const values = { model: 'llama', tokens, token_type: types, scores, bos_token_id: 1, eos_token_id: 2 };
  return new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
}

describe('SentencePiece vocabularies', () => {
  const small = tokenizerFromGguf(sentencePieceMetadata());
  const pieces = (ids: readonly number[]) => ids.map((id) => Buffer.from(small.tokenBytes(id)).toString('latin1'));

  it('merge the best piece first, with a space in front and bytes for the rest', () => {
    assert.deepEqual(pieces(small.encode('hello')), [' hello']);
    assert.deepEqual(pieces(small.encode('helox é')), [' hel', 'o', 'x', ' ', '\xc3', '\xa9']);
    assert.deepEqual(pieces(small.encode(' hello', { continuation: true })), [' hello']);
    assert.deepEqual(pieces(small.encode('  hello')), ['  ', ' hello']);
  });

  it('do not put a space before what follows a special token twice', () => {
    assert.deepEqual(small.encodeWithSpecial('<s>hello</s>'), [1, ...small.encode('hello'), 2]);
    const { tokens, part } = small.encodeParts([
      { text: '<s>x ', special: true },
      { text: 'hello', special: false },
      { text: ' x', special: true },
    ]);
    assert.deepEqual(pieces(tokens), ['<s>', ' ', 'x', ' hello', ' ', 'x']);
    assert.deepEqual(part, [0, 0, 0, 1, 2, 2]);
  });

  it('make a text of bytes no byte token, and of "<s>" no special one', () => {
    assert.equal(small.decode(small.encode('<0x41><s>')), '<0x41><s>');
    assert.ok(!small.encode('<s>').includes(1));
  });

  it('decode what they encode, whole or token by token', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('h', 'e', 'l', 'o', ' ', 'é', '猫', '\n') }), (text) => {
        const ids = small.encode(text);
        assert.equal(small.decode(ids), text);
        const stream = createTextStream(small);
        assert.equal(ids.map((id) => stream.push(id)).join('') + stream.end(), text);
      }),
    );
  });

  it('give the tokens of one queue over the whole text, though words are cut before', () => {
    const tokens = sentencePieceMetadata().get('tokenizer.ggml.tokens') as string[];
    const merges = ['▁ h', 'e l', '▁h el', 'l o', '▁hel lo', '▁ ▁'].map((merge) => merge.split(' '));
    const json = {
      added_tokens: [],
      normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      pre_tokenizer: null,
      post_processor: null,
      decoder: null,
      model: {
        type: 'BPE',
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges,
        byte_fallback: true,
      },
    };
    const ours = tokenizerFromJson(json, { bos_token: '<s>' });
    const whole = new LibraryTokenizer(json, {});
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('h', 'e', 'l', 'o', ' ', 'hello', '\n', '▁') }), (text) => {
        assert.deepEqual(ours.encode(text), whole.encode(text).ids);
      }),
      { numRuns: 1000 },
    );
  });

  it('without all byte tokens are refused', () => {
    const broken = sentencePieceMetadata();
    const tokens = broken.get('tokenizer.ggml.tokens') as string[];
    broken.set(
      'tokenizer.ggml.tokens',
      tokens.map((token) => (token === '<0x41>' ? 'A' : token)),
    );
    assert.throws(() => tokenizerFromGguf(broken), /without byte fallback is not supported/);
  });
});

describe('tokenizer.json', () => {
  const json = (changes: object) => ({
    added_tokens: [{ id: 5, content: '<s>', special: true }],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    model: {
      type: 'BPE',
      vocab: { h: 0, i: 1, hi: 2, Ġ: 3, Ġhi: 4 },
      merges: [
        ['h', 'i'],
        ['Ġ', 'hi'],
      ],
    },
    ...changes,
  });

  it('is read with its names of bos and eos', () => {
    const small = tokenizerFromJson(json({}), { bos_token: '<s>', eos_token: { content: '<s>' } });
    assert.deepEqual([small.bosTokenId, small.endTokenIds, small.vocabularySize], [5, [5], 6]);
    assert.deepEqual(small.encode('hi hi'), [2, 4]);
  });

  it('never reaches an added token by merging', () => {
    const added = [
      { id: 5, content: '<s>', special: true },
      { id: 2, content: 'hi', special: true },
    ];
    const small = tokenizerFromJson(json({ added_tokens: added }), { bos_token: '<s>' });
    assert.deepEqual(small.encode('hi'), [0, 1]);
    assert.deepEqual(small.encodeWithSpecial('hi'), [2]);
  });

  it('loses no text to a merge whose token is not in the vocabulary', () => {
    const model = { type: 'BPE', vocab: { h: 0, i: 1 }, merges: [['h', 'i']] };
    assert.deepEqual(tokenizerFromJson(json({ model }), { bos_token: '<s>' }).encode('hi'), [0, 1]);
  });

  it('has the space in front that a Metaspace says, in the words of newer files or older ones', () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
    const vocab = Object.fromEntries(['<s>', '▁', 'h', ...bytes].map((token, id) => [token, id]));
    const encoded = (metaspace: object) => {
      const source = json({
        added_tokens: [{ id: 0, content: '<s>', special: true }],
        pre_tokenizer: { type: 'Metaspace', replacement: '▁', ...metaspace },
        model: { type: 'BPE', vocab, merges: [], byte_fallback: true },
      });
      return tokenizerFromJson(source, { bos_token: '<s>' }).encode('h');
    };
    assert.deepEqual(encoded({ prepend_scheme: 'always' }), [1, 2]);
    assert.deepEqual(encoded({ prepend_scheme: 'never' }), [2]);
    assert.deepEqual(encoded({ add_prefix_space: true }), [1, 2]);
    assert.deepEqual(encoded({ add_prefix_space: false }), [2]);
  });

  it('sets apart as digits whatever Unicode counts as numbers', () => {
    const pieces = (individual_digits: boolean) => {
      const pretokenizers = [
        { type: 'Digits', individual_digits },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      ];
      const vocab = Object.fromEntries(['h', 'Ġ', 'Â', '½', 'ĠÂ', '½Â'].map((token, id) => [token, id]));
      const merges = [
        ['Ġ', 'Â'],
        ['½', 'Â'],
      ];
      const pre_tokenizer = { type: 'Sequence', pretokenizers };
      return tokenizerFromJson(json({ pre_tokenizer, model: { type: 'BPE', vocab, merges } }), { bos_token: '<s>' });
    };
    assert.deepEqual(pieces(true).encode('h ½½'), [0, 1, 2, 3, 2, 3]);
    assert.deepEqual(pieces(false).encode('h ½½'), [0, 1, 2, 5, 3]);
  });

  it('loses no text to a pattern that does not match it, and refuses what would be cut otherwise', () => {
    const splitting = (split: object) => {
      const pretokenizers = [
        { type: 'Split', ...split },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      ];
      const source = json({ pre_tokenizer: { type: 'Sequence', pretokenizers } });
      return tokenizerFromJson(source, { bos_token: '<s>' });
    };
    const letter = { Regex: 'h' };
    for (const invert of [false, true]) {
      assert.deepEqual(splitting({ pattern: letter, behavior: 'Isolated', invert }).encode('hi'), [0, 1]);
    }
    assert.deepEqual(splitting({ pattern: { Regex: '[hi]+' }, behavior: 'Removed', invert: true }).encode('hi'), [2]);
    const refused = (split: object, code: ErrorCode, message: RegExp) =>
      assert.throws(() => splitting(split), { name: 'Memory3Error', code, message });
    refused({ pattern: letter, behavior: 'MergedWithNext' }, 'unsupported', /splits as "MergedWithNext"/);
    refused({ behavior: 'Isolated' }, 'damaged', /tokenizer\.json: Split is not as it must be/);
    refused({ pattern: { Regex: '(' }, behavior: 'Isolated' }, 'unsupported', /cannot be used: Invalid regular/);
    const replace = json({ normalizer: { type: 'Replace', content: '_' } });
    assert.throws(() => tokenizerFromJson(replace, {}), { code: 'damaged', message: /Replace is not as it must be/ });
  });

  it('of other kinds is refused by name', () => {
    const model = (type: string) => json({ model: { type, vocab: {}, merges: [] } });
    assert.throws(() => tokenizerFromJson(model('Unigram'), {}), /Tokenizer model "Unigram" is not supported/);
    const whitespace = json({ pre_tokenizer: { type: 'Whitespace' } });
    assert.throws(() => tokenizerFromJson(whitespace, {}), /Pre-tokenizer "Whitespace" is not supported/);
    assert.throws(() => tokenizerFromJson(json({ added_tokens: [] }), {}), /without a token that starts a document/);
    const negative = json({ model: { type: 'BPE', vocab: { h: -1 }, merges: [] } });
    assert.throws(() => tokenizerFromJson(negative, {}), /token "h" has no valid id: -1/);
  });
});
