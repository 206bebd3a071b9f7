/**
 * How likely continuations are behind their prompts: what multiple choice and cloze tasks are scored by.
 *
 *   log P(continuation | prompt) = sum over its tokens
 *
 * Prompt and continuation are encoded together; the continuation's tokens are those behind as many as the prompt alone has.
 * A batch reads all prompts side by side, each once; then the longest continuation of every prompt, and back, and the next
 * one. So a prompt that several choices share is computed once, what is read side by side is of about the same length, and
 * the shots that a whole task shares stand in the context already.
 */
import type { Logits, ReadingContext } from '../../memory/context.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { isLikeliest, negativeLogLikelihood } from '../likelihood.ts';

/** A prompt and what might stand behind it, as token ids. */
export interface PromptWithContinuations {
  /** At least one token, unless the context has read some. */
  readonly prompt: readonly number[];
  /** Each of at least one token. */
  readonly continuations: readonly (readonly number[])[];
}

export interface ContinuationLikelihood {
  /** Log-likelihood, nats, summed over tokens. */
  readonly logLikelihood: number;
  readonly tokens: number;
  /** Whether each of its tokens is the likeliest: what greedy decoding would have written. */
  readonly greedy: boolean;
}

/**
 * Encodes a prompt and its continuations.
 * @param text before the continuations
 * @param continuations each as it stands behind the text, with its space
 * @param isBehind whether other text stands before it, for models that put a space in front of a text
 */
export function encodeContinuations(
  tokenizer: Pick<Tokenizer, 'encode'>,
  text: string,
  continuations: readonly string[],
  isBehind = false,
): PromptWithContinuations {
  const encode = (one: string) => tokenizer.encode(one, { continuation: isBehind });
  const prompt = encode(text);
  return {
    prompt,
    continuations: continuations.map((continuation) => {
      const behind = encode(`${text}${continuation}`).slice(prompt.length);
      // The border may vanish in one token; then the continuation is encoded alone.
      return behind.length > 0 ? behind : tokenizer.encode(continuation, { continuation: true });
    }),
  };
}

/**
 * Likelihoods of every continuation of a batch; the context is then what it was before.
 * @param context as many sequences as there are prompts, with what stands before them read and their memories in use
 * @returns for each prompt its continuations', in order
 * @example
 * await using context = await ReadingContext.open(model, { memory: null });
 * const [likelihoods] = await continuationLikelihoods(context, [encodeContinuations(tokenizer, 'Two and two are', [' four', ' five'])]);
 */
export async function continuationLikelihoods(
  context: ReadingContext,
  batch: readonly PromptWithContinuations[],
): Promise<ContinuationLikelihood[][]> {
  const before = batch.map((_, element) => context.length(element));
  const afterPrompts = await context.extend(batch.map(({ prompt }) => prompt));
  const behind = batch.map((_, element) => context.length(element));
  const results: ContinuationLikelihood[][] = batch.map(() => []);
  const orders = batch.map(({ continuations }) => longestFirst(continuations));
  for (let turn = 0; turn < Math.max(...orders.map(({ length }) => length)); turn++) {
    const targets = batch.map(({ continuations }, element) => continuations[orders[element]?.[turn] ?? -1] ?? []);
    const read = targets.map((target) => target.slice(0, -1));
    const rest = read.some(({ length }) => length > 0) ? await context.extend(read, 'all') : null;
    let row = 0;
    for (const [element, target] of targets.entries()) {
      context.rewind(behind[element] as number, element);
      const index = orders[element]?.[turn];
      if (index === undefined) continue;
      const places = target.map((_, i): [Logits, number] =>
        i === 0 ? [afterPrompts, element] : [rest as Logits, row++],
      );
      (results[element] as ContinuationLikelihood[])[index] = likelihoodOf(target, places);
    }
  }
  for (const [element, length] of before.entries()) context.rewind(length, element);
  return results;
}

/** Indices of the texts, those with most tokens first. */
function longestFirst(texts: readonly (readonly number[])[]): number[] {
  const length = (index: number) => texts[index]?.length ?? 0;
  return [...texts.keys()].sort((a, b) => length(b) - length(a));
}

/** @param places for each token the logits before it */
function likelihoodOf(
  tokens: readonly number[],
  places: readonly (readonly [Logits, number])[],
): ContinuationLikelihood {
  let logLikelihood = 0;
  let greedy = true;
  for (const [index, token] of tokens.entries()) {
    const [logits, row] = places[index] as readonly [Logits, number];
    logLikelihood -= negativeLogLikelihood(logits, row, token);
    greedy &&= isLikeliest(logits, row, token);
  }
  return { logLikelihood, tokens: tokens.length, greedy };
}

/** Tokens of a text that are read in one run: logits of every one of them are held. */
const textRun = 128;

/**
 * Negative log-likelihood of a text's tokens after the first, nats, summed.
 * @param context of one sequence, with what stands before the text read
 */
export async function textLikelihood(context: ReadingContext, tokens: readonly number[]): Promise<number> {
  let nats = 0;
  for (let start = 0; start < tokens.length - 1; start += textRun) {
    const run = tokens.slice(start, Math.min(start + textRun, tokens.length - 1));
    const logits = await context.extend([run], 'all');
    for (const row of run.keys()) nats += negativeLogLikelihood(logits, row, tokens[start + row + 1] as number);
  }
  return nats;
}
