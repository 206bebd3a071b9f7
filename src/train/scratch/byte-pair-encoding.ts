/**
 * Trains a byte-level byte-pair vocabulary on a stream of texts (Sennrich et al. 2016; bytes as in GPT-2).
 *
 *   1. Texts are cut into words by GPT-2's pattern (" the", "'s", "\n\n"), the same that encoding uses. No token crosses
 *      a word's end, so equal words are one word with a count, and a text is forgotten once it is counted: memory grows
 *      with the number of different words, not with the corpus. Of more different words than `mostWords` the rarest so
 *      far are dropped (lossy counting, Manku and Motwani 2002), as where whole clauses are words: Chinese has no spaces.
 *   2. A word begins as its bytes. Pairs of neighbours are counted over all words.
 *   3. The most frequent pair becomes a token, everywhere at once, until the vocabulary is full. A merge changes the
 *      counts of the pairs beside it only, so each pair keeps the list of words that it occurs in.
 *
 * The queue of pairs is lazy: a count in it may have fallen since it was put there, so what comes out is compared with
 * the present count and put back if it was too high. (A count never rises: pairs with a new token are put in when their
 * merge is done, and no later merge makes them again.)
 *
 * Ids: the special tokens, the 256 bytes in the order of their letters, the merges. Of equally frequent pairs the one
 * with the lower ids is taken. So the same texts give the same vocabulary, which is also Hugging Face's.
 */
import TinyQueue from 'tinyqueue';
import { z } from 'zod';
import { checkOptions, Memory3Error } from '../../errors.ts';
import type { TokenizerSource } from '../../model/open.ts';
import { byteAlphabet } from '../../model/tokenizer.ts';
import { detached } from '../data/detached.ts';

/** Llama 3's names, which `openTokenizer` knows. */
export const scratchSpecialTokens = { bos: '<|begin_of_text|>', end: '<|end_of_text|>' } as const;
const specialTokens = Object.values(scratchSpecialTokens);

const bytes = 256;

export const bytePairOptionsSchema = z.strictObject({
  /** Tokens in all: two special ones, 256 bytes, the rest merges. */
  vocabularySize: z
    .int()
    .min(specialTokens.length + bytes)
    .max(1 << 17)
    .default(4096),
  /** Different words that are counted at once. */
  mostWords: z
    .int()
    .min(1)
    .max(1 << 23)
    .default(2_000_000),
  /** A pair that occurs more rarely is not merged, even if the vocabulary is not full then. */
  minFrequency: z.int().min(1).default(2),
});
export type BytePairOptions = z.input<typeof bytePairOptionsSchema>;

/** The tokenizer files of a Hugging Face folder, parsed. */
export type TokenizerFiles = Extract<TokenizerSource, { readonly kind: 'json' }>;

export interface TrainedTokenizer {
  /** What `openTokenizer` opens and `createModel` writes. */
  readonly files: TokenizerFiles;
  /** Fewer than were asked for if the texts hold no more pairs of the least frequency. */
  readonly vocabularySize: number;
  readonly texts: number;
  /** Bytes of UTF-8. */
  readonly bytes: number;
  readonly differentWords: number;
  /** Occurrences of words that were dropped as too rare; none up to `mostWords` different ones. */
  readonly dropped: number;
}

/**
 * Trains on texts, each a whole document: a word never crosses from one to the next.
 * @throws Memory3Error "usage" for options out of bounds, or if there is no text at all.
 * @example
 * const { files } = await trainBytePairs(readTexts('corpus.jsonl'), { vocabularySize: 4096 });
 * openTokenizer(files).encode('Hello');
 */
export async function trainBytePairs(
  texts: AsyncIterable<string> | Iterable<string>,
  options: BytePairOptions = {},
): Promise<TrainedTokenizer> {
  const { vocabularySize, minFrequency, mostWords } = checkOptions(bytePairOptionsSchema, options);
  const counted = await countWords(texts, mostWords);
  if (counted.words.size === 0) {
    throw new Memory3Error('usage', 'There is no text to train a tokenizer on.', {
      remedy: 'Name files that hold text.',
    });
  }
  const vocabulary = learnVocabulary(counted.words, vocabularySize, minFrequency);
  return {
    files: tokenizerFiles(vocabulary),
    vocabularySize: vocabulary.tokens.length,
    texts: counted.texts,
    bytes: counted.bytes,
    differentWords: counted.words.size,
    dropped: counted.dropped,
  };
}

/** GPT-2's cut of a text into words, as @huggingface/tokenizers does it for the pre-tokenizer "ByteLevel". */
const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

interface CountedWords {
  readonly words: ReadonlyMap<string, number>;
  readonly texts: number;
  readonly bytes: number;
  readonly dropped: number;
}

async function countWords(texts: AsyncIterable<string> | Iterable<string>, mostWords: number): Promise<CountedWords> {
  const words = new Map<string, number>();
  let count = 0;
  let length = 0;
  let dropped = 0;
  let rarest = 1;
  for await (const text of texts) {
    count++;
    length += Buffer.byteLength(text);
    for (const [word] of text.matchAll(wordPattern)) {
      const counted = words.get(word);
      words.set(counted === undefined ? detached(word) : word, (counted ?? 0) + 1);
      // Half of them are left, so that this is done rarely; what is common is found again soon.
      if (words.size > mostWords) while (words.size > mostWords / 2) dropped += dropRarest(words, rarest++);
    }
  }
  return { words, texts: count, bytes: length, dropped };
}

/** Drops the words that occurred so often or less. @returns how often, together */
function dropRarest(words: Map<string, number>, count: number): number {
  let dropped = 0;
  for (const [word, occurrences] of words) {
    if (occurrences > count) continue;
    words.delete(word);
    dropped += occurrences;
  }
  return dropped;
}

/** The letters that bytes are written with, ascending. */
const lettersInOrder = [...byteAlphabet.keys()].sort();

/** One pair of neighbouring tokens. */
interface Pair {
  readonly left: number;
  readonly right: number;
  /** Occurrences in the whole corpus. */
  count: number;
  /** Numbers of words that it occurs in, or did. */
  readonly words: number[];
}

/** A pair as it was when it was put into the queue. */
interface QueuedPair {
  readonly pair: Pair;
  readonly count: number;
}

/** The most frequent first; of equals the one with the lower ids. */
function byRank(a: QueuedPair, b: QueuedPair): number {
  return b.count - a.count || a.pair.left - b.pair.left || a.pair.right - b.pair.right;
}

interface Vocabulary {
  /** By id, bytes written as letters. */
  readonly tokens: readonly string[];
  /** In the order in which encoding applies them. */
  readonly merges: readonly (readonly [left: string, right: string])[];
}

function learnVocabulary(
  counts: ReadonlyMap<string, number>,
  vocabularySize: number,
  minFrequency: number,
): Vocabulary {
  const tokens = [...specialTokens, ...lettersInOrder];
  const merges: [string, string][] = [];
  const { words, frequencies } = wordsAsIds(counts);
  const pairs = new Map<number, Pair>();
  const add = (left: number, right: number, change: number, word: number): Pair => {
    const key = left * vocabularySize + right;
    let pair = pairs.get(key);
    if (pair === undefined) {
      pair = { left, right, count: 0, words: [] };
      pairs.set(key, pair);
    }
    pair.count += change;
    if (change > 0 && pair.words.at(-1) !== word) pair.words.push(word);
    return pair;
  };
  for (const [number, word] of words.entries()) {
    const frequency = frequencies[number] as number;
    for (let i = 1; i < word.length; i++) add(word[i - 1] as number, word[i] as number, frequency, number);
  }
  const queue = new TinyQueue(
    Array.from(pairs.values(), (pair): QueuedPair => ({ pair, count: pair.count })),
    byRank,
  );
  while (tokens.length < vocabularySize) {
    const top = queue.pop();
    if (top === undefined) break;
    const { pair } = top;
    if (pair.count !== top.count) {
      if (pair.count >= minFrequency) queue.push({ pair, count: pair.count });
      continue;
    }
    if (pair.count < minFrequency) break;
    const left = tokens[pair.left] as string;
    const right = tokens[pair.right] as string;
    merges.push([left, right]);
    // A new spelling always: between two ends of tokens a text has one spelling, and this pair was it.
    const merged = tokens.push(left + right) - 1;
    const made = new Set<Pair>();
    for (const number of pair.words) {
      const frequency = frequencies[number] as number;
      words[number] = mergeInWord(words[number] as Int32Array, pair, merged, (before, behind, sign) => {
        const changed = add(before, behind, sign * frequency, number);
        if (sign > 0) made.add(changed);
      });
    }
    pairs.delete(pair.left * vocabularySize + pair.right);
    for (const each of made) queue.push({ pair: each, count: each.count });
  }
  return { tokens, merges };
}

/**
 * A word with every occurrence of a pair, from the left, made one token.
 * @param change is told each pair of neighbours that goes (-1) and comes (+1).
 */
function mergeInWord(
  word: Int32Array,
  { left, right }: Pair,
  merged: number,
  change: (left: number, right: number, sign: 1 | -1) => void,
): Int32Array {
  let length = 0;
  for (let i = 0; i < word.length; length++) {
    const isPair = word[i] === left && word[i + 1] === right;
    if (isPair) {
      // What stands before has been merged already, what stands behind not yet.
      const before = word[length - 1] as number;
      const behind = word[i + 2] as number;
      if (length > 0) {
        change(before, left, -1);
        change(before, merged, 1);
      }
      change(left, right, -1);
      if (i + 2 < word.length) {
        change(right, behind, -1);
        change(merged, behind, 1);
      }
    }
    // Written in place: never ahead of what is read.
    word[length] = isPair ? merged : (word[i] as number);
    i += isPair ? 2 : 1;
  }
  return word.subarray(0, length);
}

/** Words as ids of their bytes, beside the number of times that each occurs. */
function wordsAsIds(counts: ReadonlyMap<string, number>) {
  const idOfByte = new Int32Array(bytes);
  for (const [index, letter] of lettersInOrder.entries()) {
    idOfByte[byteAlphabet.get(letter) as number] = specialTokens.length + index;
  }
  const utf8 = new TextEncoder();
  const words: Int32Array[] = Array.from(counts.keys(), (word) =>
    Int32Array.from(utf8.encode(word), (byte) => idOfByte[byte] as number),
  );
  return { words, frequencies: [...counts.values()] };
}

/** tokenizer.json and tokenizer_config.json as Hugging Face's libraries write them. */
function tokenizerFiles({ tokens, merges }: Vocabulary): TokenizerFiles {
  const { bos, end } = scratchSpecialTokens;
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    kind: 'json',
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specialTokens.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: null,
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges,
      },
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: bos,
      eos_token: end,
      clean_up_tokenization_spaces: false,
    },
  };
}
