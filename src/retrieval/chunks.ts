/**
 * Cuts a document into references: pieces of text that each fit one explicit memory (paper 3.1).
 *
 * The words of the document (Intl.Segmenter, so that Chinese works) are read one by one; after each the document may be
 * cut, and how good a cut is there depends on what follows:
 *
 *   5 the end of the document | 4 a blank line | 3 the end of a sentence | 2 the end of a line | 1 a space | 0 nothing
 *
 * A reference takes as many words as fit. Then it is cut at the last place of rank 4 if that leaves it at least half
 * full, else at the last of rank 3, 2 or 1 that leaves it at least a quarter full, else behind the last word. White space
 * at a cut belongs to no reference; everything else belongs to exactly one.
 *
 * How much fits is found by tokenising a window of text a little longer than one reference: the bytes of its first
 * `maxTokens` tokens say where the limit lies. The text up to the cut is then tokenised by itself, since a cut can change
 * its last tokens. Each reference costs a window, so the time is linear in the document's length.
 *
 * A single word that is longer than a reference is the one exception to cutting between words: it is cut between
 * graphemes, and a grapheme longer than a reference (hundreds of combining marks) between code points.
 */
import { Memory3Error } from '../errors.ts';
import type { Tokenizer } from '../model/tokenizer.ts';

/** A piece of a document. */
export interface Chunk {
  /** Exactly `document.slice(start, end)`. */
  readonly text: string;
  /** `[start, end)` in UTF-16 code units. */
  readonly start: number;
  readonly end: number;
  /** `bodyTokens(tokenizer, text)` */
  readonly tokens: readonly number[];
}

/** Shortest limit: any code point fits, with the space in front of it, unless a normalisation makes several of it. */
const smallestLimit = 8;

/** How a reference's body is written behind its header: a space, then the text, as ordinary tokens. */
export function bodyTokens(tokenizer: Tokenizer, text: string): number[] {
  return tokenizer.encode(` ${text}`, { continuation: true });
}

/**
 * @param options - `maxTokens`: longest body of a reference, `longestBody` of the memory profile.
 * @returns the references in order, cut while they are asked for. A document of nothing but white space has none.
 * @throws Memory3Error "usage" if `maxTokens` is less than 8, or than the tokens of a single character.
 * @example
 * const maxTokens = longestBody(profile);
 * for (const { start, end, text, tokens } of cutIntoChunks(document.text, tokenizer, { maxTokens })) { ... }
 */
export function* cutIntoChunks(
  document: string,
  tokenizer: Tokenizer,
  options: { readonly maxTokens: number },
): Generator<Chunk, void> {
  const { maxTokens } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < smallestLimit) {
    throw new Memory3Error('usage', `A reference needs a limit of at least ${smallestLimit} tokens, not ${maxTokens}.`);
  }
  const cutter = new Cutter(document, tokenizer, maxTokens);
  for (let chunk = cutter.next(); chunk !== null; chunk = cutter.next()) yield chunk;
}

/** A word with the marks that stick to it, never white space. */
interface Word {
  readonly start: number;
  readonly end: number;
  /** How good a cut behind it is. */
  readonly rank: number;
}

const rank = { document: 5, paragraph: 4, space: 1, nothing: 0 } as const;

class Cutter {
  readonly #document: string;
  readonly #tokenizer: Tokenizer;
  readonly #maxTokens: number;
  readonly #words: Iterator<Word>;
  /** Words that have been read and are in no reference yet. */
  #ahead: Word[] = [];
  /** Characters that a reference takes, as the last one did; it sets the width of the next window. */
  #expected: number;

  constructor(document: string, tokenizer: Tokenizer, maxTokens: number) {
    this.#document = document;
    this.#tokenizer = tokenizer;
    this.#maxTokens = maxTokens;
    this.#words = wordsOf(document);
    this.#expected = maxTokens * 4;
  }

  next(): Chunk | null {
    this.#read(0);
    const first = this.#ahead[0];
    if (first === undefined) return null;
    const { start } = first;
    const limit = this.#limit(start);
    const chunk = this.#cutBetweenWords(start, limit) ?? this.#cutWord(first, limit);
    this.#expected = Math.max(chunk.end - start, this.#maxTokens);
    this.#ahead = this.#ahead.filter((word) => word.end > chunk.end);
    const rest = this.#ahead[0];
    if (rest !== undefined && rest.start < chunk.end) this.#ahead[0] = { ...rest, start: chunk.end };
    return chunk;
  }

  /** Reads words until one ends behind `position`. */
  #read(position: number): void {
    while ((this.#ahead.at(-1)?.end ?? -1) <= position) {
      const { done, value } = this.#words.next();
      if (done === true) return;
      this.#ahead.push(value);
    }
  }

  /** Where about `maxTokens` tokens from `start` end, or the document's end. */
  #limit(start: number): number {
    for (let width = Math.ceil(this.#expected * 1.5) + 64; ; width *= 2) {
      const window = this.#document.slice(start, start + width);
      const tokens = bodyTokens(this.#tokenizer, window);
      // The window's end may have cut a word and so made more tokens than the text has.
      const isWhole = start + width >= this.#document.length;
      if (!isWhole && tokens.length < this.#maxTokens + 16) continue;
      const bytes = tokens
        .slice(0, this.#maxTokens)
        .reduce((sum, id) => sum + this.#tokenizer.tokenBytes(id).length, 0);
      const limit = tokens.length <= this.#maxTokens ? this.#document.length : start + charactersOf(window, bytes - 1);
      this.#read(limit);
      return limit;
    }
  }

  /** The best reference that ends behind a word, or null if not even the first word fits. */
  #cutBetweenWords(start: number, firstLimit: number): Chunk | null {
    for (let limit = firstLimit; ; ) {
      const near = limit;
      const fitting = this.#ahead.filter((word) => word.end <= near);
      const word = chooseCut(fitting, start, limit) ?? this.#ahead[0];
      // A text that is shorter in tokens than its bytes say (accents as characters of their own) may fit beyond the limit.
      if (word === undefined || word.end - start > (firstLimit - start) * 4) return null;
      const chunk = this.#chunk(start, word.end);
      if (chunk.tokens.length <= this.#maxTokens) return chunk;
      if (fitting.length === 0) return null;
      limit = this.#closer(chunk, word.end - 1);
    }
  }

  /** The beginning of a word that is longer than a reference. */
  #cutWord(word: Word, firstLimit: number): Chunk {
    let limit = Math.min(firstLimit, word.end);
    for (;;) {
      const chunk = this.#chunk(word.start, lastGrapheme(this.#document, word.start, limit));
      if (chunk.tokens.length <= this.#maxTokens) return chunk;
      if (chunk.end - chunk.start === (isWide(this.#document, chunk.start) ? 2 : 1)) {
        const tokens = `${JSON.stringify(chunk.text)} alone has ${chunk.tokens.length} tokens`;
        throw new Memory3Error('usage', `A reference of ${this.#maxTokens} tokens is too short: ${tokens}.`);
      }
      limit = this.#closer(chunk, chunk.end - 1);
    }
  }

  /** A nearer limit after `chunk` turned out too long by its own tokens. */
  #closer(chunk: Chunk, atMost: number): number {
    const share = (chunk.end - chunk.start) * (this.#maxTokens / chunk.tokens.length);
    return Math.min(atMost, chunk.start + Math.ceil(share));
  }

  #chunk(start: number, end: number): Chunk {
    const text = this.#document.slice(start, end);
    return { text, start, end, tokens: bodyTokens(this.#tokenizer, text) };
  }
}

/** The word behind which to cut, by the rule at the top; undefined if there is none. */
function chooseCut(words: readonly Word[], start: number, limit: number): Word | undefined {
  const last = words.at(-1);
  if (last === undefined || last.rank === rank.document) return last;
  for (let wanted: number = rank.paragraph; wanted >= rank.space; wanted--) {
    const least = start + (limit - start) / (wanted === rank.paragraph ? 2 : 4);
    const found = words.findLast((word) => word.rank >= wanted && word.end >= least);
    if (found !== undefined) return found;
  }
  return last;
}

/** The words of a text, each with the rank of a cut behind it. */
function* wordsOf(text: string): Generator<Word, undefined> {
  // A fixed locale, so that one text is cut alike everywhere.
  const segments = new Intl.Segmenter('en', { granularity: 'word' }).segment(text);
  const sentences = new Intl.Segmenter('en', { granularity: 'sentence' }).segment(text)[Symbol.iterator]();
  let sentenceEnd = 0;
  let word: { start: number; end: number } | null = null;
  for (const { segment, index } of segments) {
    if (/^\s+$/u.test(segment)) continue;
    if (word !== null) {
      while (sentenceEnd < word.end) {
        const sentence = sentences.next();
        if (sentence.done === true) break;
        sentenceEnd = sentence.value.index + sentence.value.segment.length;
      }
      yield { ...word, rank: rankOf(text, word.end, index, sentenceEnd <= index) };
    }
    word = { start: index, end: index + segment.length };
  }
  if (word !== null) yield { ...word, rank: rank.document };
  return undefined;
}

/** How good a cut is between a word that ends at `end` and the next at `next`. */
function rankOf(text: string, end: number, next: number, sentenceEnds: boolean): number {
  const gap = text.slice(end, next);
  if (/(?:\n|\r\n?|\u2028)\s*(?:\n|\r\n?|\u2028)|[\f\u2029]/u.test(gap.replaceAll('\r\n', '\n'))) return rank.paragraph;
  const lineEnds = /[\n\r\u2028\u0085\v]/u.test(gap);
  // A sentence ends for the segmenter at each end of a line; here only where it also has a full stop or the like.
  const stops = /[\p{Sentence_Terminal}…:][\p{Pe}\p{Pf}"']*$/u;
  if (sentenceEnds && (!lineEnds || stops.test(text.slice(Math.max(0, end - 8), end)))) return 3;
  if (lineEnds) return 2;
  return gap !== '' || /[，、；：]$/u.test(text.slice(end - 1, end)) ? rank.space : rank.nothing;
}

/** How many UTF-16 code units of `text` are its first `bytes` bytes of UTF-8, whole characters only. */
function charactersOf(text: string, bytes: number): number {
  let units = 0;
  let used = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    used += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (used > bytes) break;
    units += character.length;
  }
  return units;
}

/** The last place up to `limit` to cut a word that begins at `start`: behind a grapheme, else behind a code point. */
function lastGrapheme(text: string, start: number, limit: number): number {
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  // One more code unit than the limit shows whether the grapheme before it goes on.
  const window = text.slice(start, limit + 2);
  let end = start;
  for (const { index } of graphemes.segment(window)) if (start + index <= limit) end = start + index;
  if (start + window.length <= limit) end = start + window.length;
  if (end > start) return end;
  const isHalf = isWide(text, limit - 1);
  return Math.max(limit - (isHalf ? 1 : 0), start + (isWide(text, start) ? 2 : 1));
}

/** Whether a code point of two code units begins at `index`. */
function isWide(text: string, index: number): boolean {
  return (text.codePointAt(index) ?? 0) > 0xffff;
}
