/** What a sample's chunks ask the bank for. */
import { chunkTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { TrainingSample } from './chat-examples.ts';

/**
 * The texts with which a sample recalls references: one for each chunk of 64 tokens from its start, the last one shorter. As in
 * `generate/prompt.ts` a text has no template words, and a chunk of fewer than 64 tokens or without content
 * takes the last 64 content tokens up to its end. Empty where there is no content so far.
 *
 * Two things are not as in an answer. A prompt's chunks begin behind the template's opening; here they begin with the
 * sample, since samples are packed in whole chunks, so their borders lie an opening's length earlier. And an answer recalls
 * every 64 tokens with what it has said; here a chunk leaves out the answers of which it teaches a part, or it would find what
 * is yet to be said.
 *
 * @example recallQueries(sample, tokenizer) // ["Who wrote it?", "Who wrote it?"]
 */
export function recallQueries({ tokens, weights, content }: TrainingSample, tokenizer: Tokenizer): string[] {
  const ends = answerEnds(weights);
  const queries: string[] = [];
  for (let start = 0; start < tokens.length; start += chunkTokens) {
    const end = Math.min(start + chunkTokens, tokens.length);
    const known: number[] = [];
    for (let i = 0; i < end; i++) if (content[i] === 1 && (ends[i] as number) <= start) known.push(i);
    const own = known.filter((i) => i >= start);
    const chosen = end - start === chunkTokens && own.length > 0 ? own : known.slice(-chunkTokens);
    queries.push(tokenizer.decode(chosen.map((i) => tokens[i] as number)).trim());
  }
  return queries;
}

/** For each token of an answer that is learned where that answer ends; 0 for all others. */
function answerEnds(weights: TrainingSample['weights']): Uint32Array {
  const ends = new Uint32Array(weights.length);
  for (let i = weights.length - 1; i >= 0; i--) {
    if (weights[i] !== 0) ends[i] = ends[i + 1] || i + 1;
  }
  return ends;
}
