/** Likelihoods and greedy answers of questions, a batch side by side. */
import type { ReadingContext } from '../memory/context.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { exactMatch, f1Score } from './answers.ts';
import { type ContinuationLikelihood, continuationLikelihoods } from './eval/continuations.ts';
import { greedyAnswers } from './greedy.ts';
import type { QuestionItem } from './questions.ts';

/** What one question came to. */
export interface ItemScore {
  /** Nats per token of the first right answer. */
  readonly nll: number;
  /** 0 or 1 */
  readonly exact: number;
  readonly f1: number;
}

/** Longest greedy answer, tokens. */
const answerTokens = 32;

/** The most tokens that a question takes: its prompt and the right answer or the model's own. */
export function longestReading(tokenizer: Tokenizer, item: QuestionItem, prefix = ''): number {
  return promptOf(tokenizer, item, prefix).length + Math.max(answerTokens, targetOf(tokenizer, item).length);
}

function promptOf(tokenizer: Tokenizer, { question }: QuestionItem, prefix: string): number[] {
  return [tokenizer.bosTokenId, ...tokenizer.encode(`${prefix}Question: ${question}\nAnswer:`)];
}

function targetOf(tokenizer: Tokenizer, { answers }: QuestionItem): number[] {
  return tokenizer.encode(` ${answers[0]}`, { continuation: true });
}

/**
 * Scores one batch.
 * @param context empty, as many sequences as there are items, with their memories in use
 * @param prefixes what stands before each question; default nothing
 */
export async function scoreItems(
  context: ReadingContext,
  tokenizer: Tokenizer,
  items: readonly QuestionItem[],
  prefixes: readonly string[] = items.map(() => ''),
): Promise<ItemScore[]> {
  const prompts = items.map((item, index) => promptOf(tokenizer, item, prefixes[index] as string));
  const targets = items.map((item) => targetOf(tokenizer, item));
  // The last token of a prompt is read twice: in front of the right answer, then in front of the model's own.
  const last = prompts.map((prompt) => prompt.slice(-1));
  await context.extend(prompts.map((prompt) => prompt.slice(0, -1)));
  const likelihoods = await continuationLikelihoods(
    context,
    last.map((prompt, element) => ({ prompt, continuations: [targets[element] as number[]] })),
  );
  const { data } = await context.extend(last);
  const answers = await greedyAnswers(context, tokenizer, data, { maxTokens: answerTokens, stop: '\n' });
  return items.map((item, element) => {
    const answer = answers[element] as string;
    const [{ logLikelihood, tokens }] = likelihoods[element] as [ContinuationLikelihood];
    return {
      nll: -logLikelihood / tokens,
      exact: exactMatch(answer, item.answers),
      f1: f1Score(answer, item.answers),
    };
  });
}
