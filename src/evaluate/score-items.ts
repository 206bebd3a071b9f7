/** Likelihoods and greedy answers of questions, a batch side by side. */
import type { ReadingContext } from '../memory/context.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { exactMatch, f1Score } from './answers.ts';
import { greedyAnswers } from './greedy.ts';
import { negativeLogLikelihood } from './likelihood.ts';
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
  const prompts = items.map(({ question }, i) => [
    tokenizer.bosTokenId,
    ...tokenizer.encode(`${prefixes[i]}Question: ${question}\nAnswer:`),
  ]);
  const targets = items.map(({ answers }) => tokenizer.encode(` ${answers[0]}`, { continuation: true }));
  const afterPrompt = await context.extend(prompts);
  const nll = targets.map((target, row) => negativeLogLikelihood(afterPrompt, row, target[0] as number));
  if (targets.some(({ length }) => length > 1)) {
    const rest = await context.extend(
      targets.map((target) => target.slice(0, -1)),
      'all',
    );
    let row = 0;
    for (const [element, target] of targets.entries()) {
      for (const token of target.slice(1))
        nll[element] = (nll[element] as number) + negativeLogLikelihood(rest, row++, token);
    }
    for (const [element, prompt] of prompts.entries()) context.rewind(prompt.length, element);
  }
  const answers = await greedyAnswers(context, tokenizer, afterPrompt.data, { maxTokens: answerTokens, stop: '\n' });
  return items.map((item, element) => {
    const answer = answers[element] as string;
    return {
      nll: (nll[element] as number) / (targets[element] as number[]).length,
      exact: exactMatch(answer, item.answers),
      f1: f1Score(answer, item.answers),
    };
  });
}
