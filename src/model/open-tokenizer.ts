/** The tokenizer of an open model file, whatever its format. */
import { Memory3Error } from '../errors.ts';
import type { ModelFile, TokenizerSource } from './open.ts';
import type { Tokenizer } from './tokenizer.ts';
import { tokenizerFromGguf } from './tokenizer-gguf.ts';
import { tokenizerFromJson } from './tokenizer-json.ts';

/**
 * Builds a tokenizer from what a model file holds.
 * @throws Memory3Error "unsupported" for a kind of tokenizer that the project does not know, "damaged" for a faulty one.
 * @example openTokenizer(file.tokenizerSource()).encode('Hello')
 */
export function openTokenizer(source: TokenizerSource): Tokenizer {
  return source.kind === 'gguf'
    ? tokenizerFromGguf(source.metadata)
    : tokenizerFromJson(source.tokenizer, source.config);
}

/**
 * The tokenizer of an open model. Added tokens may have no row in the embedding, as some that only pad have none.
 * @throws Memory3Error as `openTokenizer`; "damaged" if an ordinary token has none.
 */
export function tokenizerOf(file: Pick<ModelFile, 'config' | 'path' | 'tokenizerSource'>): Tokenizer {
  const tokenizer = openTokenizer(file.tokenizerSource());
  const { vocabularySize: rows } = file.config;
  const added = new Set(tokenizer.addedTokens.map(({ id }) => id));
  for (let id = rows; id < tokenizer.vocabularySize; id++) {
    if (added.has(id)) continue;
    throw new Memory3Error(
      'damaged',
      `${file.path}: its tokenizer has ${tokenizer.vocabularySize} tokens, and its embedding ${rows} rows.`,
      { remedy: 'Fetch model and tokenizer again, both of one model.' },
    );
  }
  return tokenizer;
}
