/** Likelihoods of a text by a model's logits. */
import { negativeLogLikelihood } from '../../src/evaluate/likelihood.ts';
import type { Logits } from '../../src/memory/context.ts';

/** -log P of each token after the first, given logits after every token (those after the last are not used). */
export function tokenLikelihoods(logits: Logits, tokens: readonly number[]): number[] {
  return tokens.slice(1).map((token, row) => negativeLogLikelihood(logits, row, token));
}
