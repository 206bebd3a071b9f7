/** Likelihoods out of logits. */
import type { Logits } from '../memory/context.ts';

/** -log P(token) in nats under one row of logits. */
export function negativeLogLikelihood(logits: Logits, row: number, token: number): number {
  const width = logits.data.length / logits.rows;
  const values = logits.data.subarray(row * width, (row + 1) * width);
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of values) largest = Math.max(largest, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - largest);
  return Math.log(sum) + largest - (values[token] as number);
}

/** Likelihood of each token after the first, given logits after every token (those after the last are not used). */
export function tokenLikelihoods(logits: Logits, tokens: readonly number[]): number[] {
  return tokens.slice(1).map((token, row) => negativeLogLikelihood(logits, row, token));
}

/** Whether no token is likelier under one row of logits. */
export function isLikeliest(logits: Logits, row: number, token: number): boolean {
  const width = logits.data.length / logits.rows;
  const values = logits.data.subarray(row * width, (row + 1) * width);
  const value = values[token] as number;
  return !values.some((other) => other > value);
}
