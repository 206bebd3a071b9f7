/**
 * Perplexity of a text with references, as decoding would have them (paper 3.1): the first chunk of 64 tokens has none, since
 * nothing stands before it that could recall any; what comes later has what earlier tokens recall.
 *
 *   memory   [chunk 0] [memories by chunk 0 | chunk 1] [memories by chunk 1 | chunk 2] ...
 *   rag      [chunk 0] [references by chunk 0 as text, chunk 0 | chunk 1, chunk 2, ...]
 *
 * So every mode counts the same tokens, and none is likelier for having been its own query. A chunk's memories are
 * dropped when the next one's are loaded. The references overlap no more of the text, its later tokens included, than any
 * item's may.
 */
import type { ReadingContext } from '../../memory/context.ts';
import { chunkTokens } from '../../memory/profile.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { textLikelihood } from './continuations.ts';
import type { Mode } from './modes.ts';
import { readRuns } from './prompt-runs.ts';
import type { ItemReferences, ReferenceFinder } from './references.ts';

/** References of a text. */
export interface TextReferences extends ItemReferences {
  /** For each chunk those that are loaded before it; the others are read as text, or there are none. */
  readonly byChunk: readonly ItemReferences['references'][];
}

/**
 * Finds what a text gets in a mode that recalls.
 * @param id names the text among those of its task
 * @param tokens those that are read
 */
export async function textReferences(
  finder: ReferenceFinder,
  tokenizer: Tokenizer,
  { kind, references: count }: Mode,
  id: string,
  tokens: readonly number[],
): Promise<TextReferences> {
  const text = tokenizer.decode(tokens);
  const last = kind === 'memory' ? tokens.length - 1 : Math.min(tokens.length, chunkTokens + 1);
  const byChunk: ItemReferences['references'][] = [[]];
  let leftOut = 0;
  for (let start = chunkTokens; start < last; start += chunkTokens) {
    const query = tokenizer.decode(tokens.slice(start - chunkTokens, start));
    const found = await finder.find(`${id} ${start}`, { query, text }, count);
    byChunk.push(found.references);
    leftOut += found.leftOut;
  }
  const references = new Map(byChunk.flat().map((reference) => [reference.id, reference]));
  return { references: [...references.values()], leftOut, byChunk };
}

export interface TextToScore {
  readonly tokens: readonly number[];
  /** References as text; empty in other modes. */
  readonly before: readonly number[];
  /** Loads a chunk's memories; null in other modes. */
  readonly useMemories: ((chunk: number) => Promise<void>) | null;
}

/**
 * Negative log-likelihood of a text's tokens after the first, nats, summed.
 * @param context of one sequence, with what stands before texts read
 */
export async function textNats(context: ReadingContext, { tokens, before, useMemories }: TextToScore): Promise<number> {
  if (useMemories !== null) {
    const beforeRun = (start: number) => useMemories(start / chunkTokens);
    return await textLikelihood(context, tokens, { run: chunkTokens, beforeRun });
  }
  if (before.length === 0) return await textLikelihood(context, tokens);
  const beginning = context.length();
  const first = chunkTokens + 1;
  const nats = await textLikelihood(context, tokens.slice(0, first));
  if (tokens.length <= first) return nats;
  context.rewind(beginning);
  await readRuns(context, [before], 0);
  return nats + (await textLikelihood(context, tokens, { first }));
}
