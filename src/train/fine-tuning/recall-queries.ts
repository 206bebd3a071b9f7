/** What a sample's chunks ask the bank for. */
import { chunkTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { TrainingSample } from './chat-examples.ts';

/**
 * The texts with which a sample recalls references: one for each chunk of 64 tokens from its start, the last one shorter. As in
 * `generate/prompt.ts` a text has no template words, and a chunk of fewer than 64 tokens or without content
 * takes the last 64 content tokens up to its end. Empty where there is no content so far.
 *
 * @param answers whether a chunk's text holds what the sample teaches to say. The paper's training searches with the whole chunk (4.1);
 *   without, a chunk knows only what a prompt would know when it is answered.
 * @example recallQueries(sample, tokenizer, { answers: false }) // ["Who wrote it?", "Who wrote it?"]
 */
export function recallQueries(
  { tokens, weights, content }: TrainingSample,
  tokenizer: Tokenizer,
  { answers }: { readonly answers: boolean },
): string[] {
  const queries: string[] = [];
  const isText = (i: number): boolean => content[i] === 1 && (answers || weights[i] === 0);
  /** Numbers of content tokens so far. */
  const before: number[] = [];
  for (let start = 0; start < tokens.length; start += chunkTokens) {
    const end = Math.min(start + chunkTokens, tokens.length);
    const already = before.length;
    for (let i = start; i < end; i++) if (isText(i)) before.push(i);
    const isWhole = end - start === chunkTokens && before.length > already;
    const chosen = isWhole ? before.slice(already) : before.slice(-chunkTokens);
    queries.push(tokenizer.decode(chosen.map((i) => tokens[i] as number)).trim());
  }
  return queries;
}
