/**
 * A tokenizer from a GGUF file's metadata: the keys "tokenizer.ggml.*" are turned into the structure of a tokenizer.json.
 *
 * "gpt2" is byte-level byte-pair encoding; the key "pre" names the pattern that cuts text into words before merging.
 * "llama" is SentencePiece: there are no merges in the file, but pieces with scores. A merge of two pieces is as good as
 * the score of the piece that it makes, so the merges are all ways to split a piece into two pieces, best score first.
 */
import { Memory3Error } from '../errors.ts';
import type { GgufMetadata, GgufValue } from './gguf.ts';
import type { Tokenizer } from './tokenizer.ts';
import { byteToken, tokenizerFromJson } from './tokenizer-json.ts';

/** Types of tokens in GGUF: 1 is normal, 5 unused; the others are below. */
const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, byte: 6 } as const;

const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const wordEnds = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const llama3Words = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${wordEnds}`;
const qwen2Words = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|${wordEnds}`;
const upper = '\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}';
const lower = '\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}';
const tekkenWords =
  `[^\\r\\n\\p{L}\\p{N}]?[${upper}]*[${lower}]+|[^\\r\\n\\p{L}\\p{N}]?[${upper}]+[${lower}]*|\\p{N}|` +
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

interface PreTokenization {
  readonly names: readonly string[];
  /** Applied one after the other, each to the pieces of the one before. */
  readonly splits: readonly string[];
  /** A word that is a token as a whole is not merged from its bytes. */
  readonly ignoreMerges?: boolean;
  readonly normalizer?: 'NFC';
}

const preTokenizations: readonly PreTokenization[] = [
  { names: ['smollm', 'starcoder', 'refact', 'codeshell'], splits: [gpt2Words, '\\p{N}'] },
  { names: ['llama-bpe', 'llama3', 'llama-v3', 'falcon3'], splits: [llama3Words], ignoreMerges: true },
  { names: ['smaug-bpe', 'dbrx'], splits: [llama3Words] },
  { names: ['qwen2', 'deepseek-r1-qwen'], splits: [qwen2Words], normalizer: 'NFC' },
  { names: ['tekken'], splits: [tekkenWords], ignoreMerges: true },
  { names: ['gpt-2', 'phi-2', 'olmo', 'mpt'], splits: [gpt2Words] },
  // What llama.cpp does with a file that doesn't say.
  { names: ['default'], splits: ['[\\p{P}\\$\\+<=>\\^~\\|]+', gpt2Words, '\\p{N}+', '[0-9][0-9][0-9]'] },
];

/**
 * @param metadata - of a GGUF file.
 * @throws Memory3Error "unsupported" for a kind of tokenizer that the project does not know, named, with those that it
 * knows; "damaged" for metadata that contradict themselves.
 * @example
 * using file = openGguf(path);
 * const tokenizer = tokenizerFromGguf(file.metadata);
 */
export function tokenizerFromGguf(metadata: GgufMetadata): Tokenizer {
  const tokens = list(metadata, 'tokens', 'string');
  if (tokens.length === 0) throw damaged('tokens', 'is empty');
  const types = metadata.has('tokenizer.ggml.token_type')
    ? list(metadata, 'token_type', 'number')
    : new Array<number>(tokens.length).fill(tokenType.normal);
  if (types.length !== tokens.length)
    throw damaged('token_type', `has ${types.length} entries for ${tokens.length} tokens`);
  const model = text(metadata, 'model') ?? 'missing';
  const structure =
    model === 'gpt2'
      ? byteLevel(metadata)
      : model === 'llama'
        ? sentencePiece(metadata, tokens, types)
        : unsupported('Tokenizer model', model, ['gpt2', 'llama']);
  const vocab = new Map<string, number>();
  // Of two tokens with one name the first is the one that encoding gives.
  for (const [id, token] of tokens.entries()) if (!vocab.has(token)) vocab.set(token, id);
  const added = tokens.flatMap((content, id) =>
    content !== '' && isAdded(types[id]) ? [{ id, content, special: types[id] !== tokenType.userDefined }] : [],
  );
  const name = (key: string): string | undefined => {
    const id = metadata.get(`tokenizer.ggml.${key}`);
    if (id === undefined) return undefined;
    const token = typeof id === 'number' ? tokens[id] : undefined;
    if (token === undefined) throw damaged(key, `is ${String(id)}, which is no token`);
    return token;
  };
  return tokenizerFromJson(
    {
      ...structure,
      added_tokens: added,
      model: { ...structure.model, type: 'BPE', vocab: Object.fromEntries(vocab) },
    },
    { bos_token: name('bos_token_id'), eos_token: name('eos_token_id') },
  );
}

function byteLevel(metadata: GgufMetadata) {
  const pre = text(metadata, 'pre') ?? 'default';
  const known = preTokenizations.find(({ names }) => names.includes(pre));
  if (known === undefined) {
    return unsupported(
      'Pre-tokenizer',
      pre,
      preTokenizations.flatMap(({ names }) => names),
    );
  }
  const splits = known.splits.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }));
  return {
    normalizer: known.normalizer === undefined ? null : { type: known.normalizer },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [...splits, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
    },
    model: { merges: list(metadata, 'merges', 'string'), ignore_merges: known.ignoreMerges === true },
  };
}

function sentencePiece(metadata: GgufMetadata, tokens: readonly string[], types: readonly number[]) {
  const scores = list(metadata, 'scores', 'number');
  if (scores.length !== tokens.length)
    throw damaged('scores', `has ${scores.length} entries for ${tokens.length} tokens`);
  const space = metadata.get('tokenizer.ggml.add_space_prefix') !== false;
  const underscore = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const hasBytes = tokens.includes(byteToken(0));
  return {
    normalizer: { type: 'Sequence', normalizers: [...(space ? [{ type: 'Prepend', prepend: '▁' }] : []), underscore] },
    pre_tokenizer: null,
    model: { merges: scoredMerges(tokens, types, scores), byte_fallback: hasBytes },
  };
}

/** All pairs of pieces that make a piece; the piece with the best score first, as SentencePiece chooses. */
function scoredMerges(
  tokens: readonly string[],
  types: readonly number[],
  scores: readonly number[],
): (readonly [string, string])[] {
  const pieces = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (types[id] === tokenType.normal) pieces.set(token, id);
  const scoreOf = (piece: string): number => scores[pieces.get(piece) ?? -1] ?? 0;
  const merges: { readonly pair: readonly [string, string]; readonly score: number }[] = [];
  for (const [piece, id] of pieces) {
    const splits: (readonly [string, string])[] = [];
    let left = '';
    for (const character of piece) {
      if (left !== '' && pieces.has(left) && pieces.has(piece.slice(left.length))) {
        splits.push([left, piece.slice(left.length)]);
      }
      left += character;
    }
    // Hugging Face's order among the splits of one piece.
    splits.sort((a, b) => scoreOf(a[0]) - scoreOf(b[0]) || scoreOf(a[1]) - scoreOf(b[1]));
    for (const pair of splits) merges.push({ pair, score: scores[id] ?? 0 });
  }
  return merges.sort((a, b) => b.score - a.score).map(({ pair }) => pair);
}

function isAdded(type: number | undefined): boolean {
  return type === tokenType.unknown || type === tokenType.control || type === tokenType.userDefined;
}

function text(metadata: GgufMetadata, key: string): string | undefined {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  if (value !== undefined && typeof value !== 'string') throw damaged(key, 'is not a text');
  return value;
}

function list<T extends 'string' | 'number'>(
  metadata: GgufMetadata,
  key: string,
  type: T,
): readonly (T extends 'string' ? string : number)[] {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  const isList = (entries: GgufValue | undefined): entries is readonly (T extends 'string' ? string : number)[] =>
    Array.isArray(entries) && entries.every((entry) => typeof entry === type);
  if (!isList(value)) throw damaged(key, `is not a list of ${type}s`);
  return value;
}

function damaged(key: string, what: string): Memory3Error {
  return new Memory3Error('damaged', `The file's metadata "tokenizer.ggml.${key}" ${what}.`);
}

function unsupported(kind: string, name: string, supported: readonly string[]): never {
  throw new Memory3Error('unsupported', `${kind} "${name}" is not supported.`, {
    remedy: `Supported: ${supported.join(', ')}.`,
  });
}
