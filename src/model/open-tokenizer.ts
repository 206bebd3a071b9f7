/** The tokenizer of an open model file, whatever its format. */
import type { TokenizerSource } from './open.ts';
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
