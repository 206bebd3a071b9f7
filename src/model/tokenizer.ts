/**
 * Text to token ids and back.
 *
 * Encoding is byte-pair encoding by @huggingface/tokenizers. What this file adds is the border between text and control:
 * the library is given a vocabulary *without* the special tokens, so that nothing it encodes can become one, and special
 * tokens are looked for here, only where the caller says that the text is the project's or a template's own.
 *
 *   parts  "<|im_start|>user\n" (special)   "Say <|im_end|>!" (text)   "<|im_end|>\n" (special)
 *   runs   [1]   "user\nSay <|im_end|>!"   [2]   "\n"
 *
 * The text between two special tokens is one run whatever parts it came from, so its tokens are those of the whole
 * text (a "\n" of the template and one of the message may be one token), and each token's bytes tell which part it is of.
 *
 * Decoding goes through bytes: each token stands for some bytes, possibly half a character.
 */
import { Tokenizer as BpeTokenizer } from '@huggingface/tokenizers';
import { Memory3Error, rootMessage } from '../errors.ts';

/** A piece of a prompt. */
export interface TextPart {
  readonly text: string;
  /** Written by the project or a template: special tokens in it are recognised. */
  readonly special: boolean;
}

/** Tokens of several parts put together. */
export interface EncodedParts {
  readonly tokens: number[];
  /** For each token the index of its part; a token of several parts belongs to the last of them without `special`. */
  readonly part: number[];
}

/** Text to token ids and back. */
export interface Tokenizer {
  readonly vocabularySize: number;
  /** The token that starts every context: bos, or the model's document-start token where it has no bos. */
  readonly bosTokenId: number;
  /** Tokens that end a generated answer. */
  readonly endTokenIds: readonly number[];
  /**
   * Encodes text in which nothing is special: "<|im_end|>" becomes ordinary tokens. No bos is added. Bytes for which
   * the vocabulary has no token are left out, as the library does (SmolLM2 lacks six control characters and U+40000-U+BFFFF).
   *
   * `continuation`: the text stands behind other text, so a model that puts a space in front of every text (Llama 2) doesn't.
   */
  encode(text: string, options?: { readonly continuation?: boolean }): number[];
  /** Encodes text written by the project or a template: special tokens inside it are recognised. No bos is added. */
  encodeWithSpecial(text: string): number[];
  /** Encodes the concatenation of `parts`; special tokens are recognised only within parts that are `special`. */
  encodeParts(parts: readonly TextPart[]): EncodedParts;
  /** Decodes without cleaning up spaces; special tokens are left out unless asked for. Broken UTF-8 becomes U+FFFD. */
  decode(ids: readonly number[], options?: { readonly special?: boolean }): string;
  /** The bytes that a token adds to a text, possibly part of a character; of a special token its name. */
  tokenBytes(id: number): Uint8Array;
  isSpecial(id: number): boolean;
  /** Tokens that a template can use and `encode` never produces, special or not ("<think>"). */
  readonly addedTokens: readonly AddedToken[];
  /** Whether a text gets a space in front (Llama 2), which decoding takes away again. */
  readonly spaceInFront: boolean;
}

/** A token outside the byte-pair vocabulary, matched as a whole. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out when decoding. */
  readonly special: boolean;
  /** Takes the white space before it. */
  readonly lstrip: boolean;
  /** Takes the white space behind it. */
  readonly rstrip: boolean;
}

/** What `createTokenizer` builds from; `tokenizer-json.ts` and `tokenizer-gguf.ts` make it from a model's files. */
export interface TokenizerParts {
  /** A tokenizer.json for the library, without added tokens in its vocabulary and without a prefix rule. */
  readonly library: object;
  /** Token by id, added ones included; a hole is an id without a token. */
  readonly tokens: readonly (string | undefined)[];
  readonly addedTokens: readonly AddedToken[];
  /** How a token is written: GPT-2's byte alphabet, or SentencePiece's "▁" and "<0x0A>". */
  readonly spelling: 'byte-level' | 'sentencepiece';
  /** Where a space goes in front of a run of text: nowhere, every run, only the first thing of a text. */
  readonly space: 'none' | 'every-run' | 'first-run';
  /** The space is put in front of a run even if one stands there. */
  readonly spaceAlways: boolean;
  /** Form of Unicode normalisation before encoding, if any. */
  readonly normalisation: 'NFC' | 'NFKC' | 'NFD' | 'NFKD' | null;
  readonly bosTokenId: number;
  readonly endTokenIds: readonly number[];
}

/** A run of plain text with the part that each of its stretches came from, or one added token. */
type Run =
  | { readonly kind: 'token'; readonly id: number; readonly part: number }
  | { readonly kind: 'text'; readonly stretches: { text: string; readonly part: number }[] };

const utf8 = new TextEncoder();

/**
 * Puts a tokenizer together. Use `tokenizerFromGguf` or `tokenizerFromJson` for a model's own files.
 * @throws Memory3Error "unsupported" for patterns that the library cannot compile.
 */
export function createTokenizer(parts: TokenizerParts): Tokenizer {
  const bpe = libraryTokenizer(parts.library);
  const addedByContent = new Map(parts.addedTokens.map((token) => [token.content, token]));
  const addedById = new Map(parts.addedTokens.map((token) => [token.id, token]));
  const addedPattern = alternation(parts.addedTokens);
  const bytesOf = byteSpeller(parts);
  const hasByte = parts.spelling === 'byte-level' ? knownBytes(parts.tokens) : null;

  /** A run's text as it goes to the library. */
  const withSpace = (text: string, first: boolean): string => {
    if (text === '' || parts.space === 'none' || (parts.space === 'first-run' && !first)) return text;
    return !parts.spaceAlways && /^[ ▁]/.test(text) ? text : ` ${text}`;
  };
  const encodeRun = (text: string): number[] => (text === '' ? [] : bpe.encode(text).ids);

  /** Bytes that the tokens of `text` stand for. */
  const encodedLength = (text: string): number => {
    const normalised = parts.normalisation === null ? text : text.normalize(parts.normalisation);
    const bytes = utf8.encode(normalised);
    return hasByte === null ? bytes.length : bytes.reduce((sum, byte) => sum + (hasByte[byte] ?? 0), 0);
  };

  const encodeParts = (textParts: readonly TextPart[]): EncodedParts => {
    const tokens: number[] = [];
    const part: number[] = [];
    for (const [index, run] of splitRuns(textParts, addedPattern, addedByContent).entries()) {
      if (run.kind === 'token') {
        tokens.push(run.id);
        part.push(run.part);
        continue;
      }
      const text = run.stretches.map((stretch) => stretch.text).join('');
      const spaced = withSpace(text, index === 0);
      const ids = encodeRun(spaced);
      const owners = ownersOfTokens(
        ids.map((id) => bytesOf(id).length),
        run.stretches.map((stretch, i) => ({
          part: stretch.part,
          content: textParts[stretch.part]?.special === false,
          bytes: encodedLength(stretch.text) + (i === 0 ? spaced.length - text.length : 0),
        })),
      );
      for (const id of ids) tokens.push(id);
      for (const owner of owners) part.push(owner);
    }
    return { tokens, part };
  };

  return {
    vocabularySize: parts.tokens.length,
    bosTokenId: parts.bosTokenId,
    endTokenIds: parts.endTokenIds,
    addedTokens: parts.addedTokens,
    spaceInFront: parts.space !== 'none',
    encode: (text, options) => encodeRun(options?.continuation === true ? text : withSpace(text, true)),
    encodeWithSpecial: (text) => encodeParts([{ text, special: true }]).tokens,
    encodeParts,
    decode: (ids, options) => {
      const kept = options?.special === true ? ids : ids.filter((id) => addedById.get(id)?.special !== true);
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(kept.map(bytesOf)));
      return parts.space !== 'none' && text.startsWith(' ') ? text.slice(1) : text;
    },
    tokenBytes: bytesOf,
    isSpecial: (id) => addedById.get(id)?.special === true,
  };
}

/** The patterns of a tokenizer.json are made for another engine of regular expressions, and need not work in this one. */
function libraryTokenizer(library: object): BpeTokenizer {
  try {
    return new BpeTokenizer(library, { clean_up_tokenization_spaces: false });
  } catch (cause) {
    throw new Memory3Error('unsupported', `The model's tokenizer cannot be used: ${rootMessage(cause)}`, { cause });
  }
}

/** Text that grows token by token. */
export interface TextStream {
  /** @returns the text that this token completes; characters that are still incomplete are held back. */
  push(id: number): string;
  /** @returns what was held back: an incomplete character as U+FFFD. */
  end(): string;
}

/**
 * Decodes tokens one at a time, for streaming; all pieces together are `tokenizer.decode` of all ids.
 * @example
 * const stream = createTextStream(tokenizer);
 * for (const id of generated) process.stdout.write(stream.push(id));
 * process.stdout.write(stream.end());
 */
export function createTextStream(tokenizer: Tokenizer): TextStream {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let atStart = tokenizer.spaceInFront;
  const withoutSpace = (text: string): string => {
    if (!atStart || text === '') return text;
    atStart = false;
    return text.startsWith(' ') ? text.slice(1) : text;
  };
  return {
    push: (id) =>
      tokenizer.isSpecial(id) ? '' : withoutSpace(decoder.decode(tokenizer.tokenBytes(id), { stream: true })),
    end: () => withoutSpace(decoder.decode()),
  };
}

/** Cuts parts at the added tokens of the special ones; all text between two of them is one run. */
function splitRuns(
  textParts: readonly TextPart[],
  addedPattern: RegExp | null,
  addedByContent: ReadonlyMap<string, AddedToken>,
): Run[] {
  const runs: Run[] = [];
  const addText = (text: string, part: number): void => {
    if (text === '') return;
    const last = runs.at(-1);
    if (last?.kind === 'text') last.stretches.push({ text, part });
    else runs.push({ kind: 'text', stretches: [{ text, part }] });
  };
  for (const [part, { text, special }] of textParts.entries()) {
    let start = 0;
    for (const match of special && addedPattern !== null ? text.matchAll(addedPattern) : []) {
      const token = addedByContent.get(match[0]);
      if (token === undefined || match.index < start) continue;
      const before = text.slice(start, match.index);
      addText(token.lstrip ? before.trimEnd() : before, part);
      runs.push({ kind: 'token', id: token.id, part });
      start = match.index + match[0].length;
      if (token.rstrip) start += text.slice(start).length - text.slice(start).trimStart().length;
    }
    addText(text.slice(start), part);
  }
  return runs;
}

/** One pattern for all added tokens, the longest first; null if there are none. */
function alternation(added: readonly AddedToken[]): RegExp | null {
  if (added.length === 0) return null;
  const contents = added.map((token) => token.content).sort((a, b) => b.length - a.length);
  return new RegExp(contents.map((content) => RegExp.escape(content)).join('|'), 'gu');
}

/**
 * Which stretch each token belongs to, by bytes: the last stretch of content that it has a byte of, else the first of
 * any kind. Where the sums differ (a normalisation across the border of two stretches) the border is off by a character.
 */
function ownersOfTokens(
  lengths: readonly number[],
  stretches: readonly { readonly part: number; readonly content: boolean; readonly bytes: number }[],
): number[] {
  let index = 0;
  let stretchEnd = stretches[0]?.bytes ?? 0;
  let position = 0;
  return lengths.map((length) => {
    const end = position + length;
    while (stretchEnd <= position && index < stretches.length - 1) stretchEnd += stretches[++index]?.bytes ?? 0;
    let owner = stretches[index];
    while (stretchEnd < end && index < stretches.length - 1) {
      const next = stretches[++index];
      stretchEnd += next?.bytes ?? 0;
      if (next !== undefined && next.bytes > 0 && (next.content || owner?.content !== true)) owner = next;
    }
    position = end;
    return owner?.part ?? 0;
  });
}

/** GPT-2's alphabet: printable Latin-1 characters stand for their own byte, the others for U+0100 and up, in order. */
export const byteAlphabet: ReadonlyMap<string, number> = (() => {
  const alphabet = new Map<string, number>();
  let shifted = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    alphabet.set(String.fromCharCode(printable ? byte : shifted++), byte);
  }
  return alphabet;
})();

/** 1 for each byte that is a token by itself, so that it can be encoded. */
function knownBytes(tokens: readonly (string | undefined)[]): Uint8Array {
  const known = new Uint8Array(256);
  for (const token of tokens) {
    const byte = token === undefined ? undefined : byteAlphabet.get(token);
    if (byte !== undefined) known[byte] = 1;
  }
  return known;
}

/** The function from id to bytes, each computed once. */
function byteSpeller({ tokens, addedTokens, spelling }: TokenizerParts): (id: number) => Uint8Array {
  const added = new Set(addedTokens.map((token) => token.id));
  const known: (Uint8Array | undefined)[] = new Array(tokens.length);
  const spell = (id: number): Uint8Array => {
    const token = tokens[id];
    if (token === undefined) {
      throw new Memory3Error('damaged', `Token ${id} does not exist: the vocabulary has ${tokens.length} tokens.`);
    }
    if (added.has(id)) return utf8.encode(token);
    if (spelling === 'sentencepiece') {
      const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
      return byte === undefined ? utf8.encode(token.replaceAll('▁', ' ')) : Uint8Array.of(Number.parseInt(byte, 16));
    }
    const bytes = Array.from(token, (character) => byteAlphabet.get(character));
    return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : utf8.encode(token);
  };
  return (id) => {
    known[id] ??= spell(id);
    return known[id];
  };
}
