/** Vocabularies of a few hundred tokens, as GGUF metadata. */
import type { GgufValue } from '../../src/model/gguf.ts';
import { byteAlphabet } from '../../src/model/tokenizer.ts';

/** A small byte-level vocabulary: the 256 bytes, some merges, then added tokens. */
export function byteLevelMetadata(changes: Readonly<Record<string, GgufValue>> = {}): Map<string, GgufValue> {
  const merges = ['h e', 'l l', 'he ll', 'hell o', 'Ġ hello', '1 2', '12 3'];
  const tokens = [...byteAlphabet.keys(), ...merges.map((merge) => merge.replace(' ', '')), '<|endoftext|>', '<think>'];
  const types = tokens.map((token) => (token === '<think>' ? 4 : token === '<|endoftext|>' ? 3 : 1));
  const values = { model: 'gpt2', pre: 'qwen2', tokens, token_type: types, merges, ...changes };
  return new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
}
