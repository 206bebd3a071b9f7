/** Text to token ids and back. */
export interface Tokenizer {
  readonly vocabularySize: number;
  /** The token that starts every context: bos, or the model's document-start token where it has no bos. */
  readonly bosTokenId: number;
  /** Tokens that end a generated answer. */
  readonly endTokenIds: readonly number[];
  /** Encodes text in which nothing is special: "<|im_end|>" becomes ordinary tokens. No bos is added. */
  encode(text: string): number[];
  /** Encodes text written by the project or a template: special tokens inside it are recognised. No bos is added. */
  encodeWithSpecial(text: string): number[];
  /** Decodes without cleaning up spaces; special tokens are left out unless asked for. */
  decode(ids: readonly number[], options?: { readonly special?: boolean }): string;
  isSpecial(id: number): boolean;
}
