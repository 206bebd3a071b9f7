/** Greedy decoding of a batch side by side. */
import type { ReadingContext } from '../memory/context.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { largest } from './eval/metrics.ts';

export interface GreedyOptions {
  readonly maxTokens: number;
  /** Ends an answer; what stands before it counts. */
  readonly stop: string;
}

/**
 * The likeliest tokens of each sequence up to `stop`, an end token or `maxTokens`.
 * @param first logits after the last token read, one row for each sequence of the context
 */
export async function greedyAnswers(
  context: ReadingContext,
  tokenizer: Tokenizer,
  first: Float32Array,
  { maxTokens, stop }: GreedyOptions,
): Promise<string[]> {
  const answers: number[][] = Array.from({ length: context.batch }, () => []);
  const running = new Set(answers.keys());
  const width = first.length / context.batch;
  // An embedding padded to a round size has rows that stand for no token.
  const choices = Math.min(width, tokenizer.vocabularySize);
  let logits = first;
  for (let step = 1; ; step++) {
    for (const element of running) {
      const answer = answers[element] as number[];
      const token = largest(logits.subarray(element * width, element * width + choices));
      if (!tokenizer.endTokenIds.includes(token)) answer.push(token);
      if (answer.length < step || tokenizer.decode(answer).includes(stop)) running.delete(element);
    }
    if (running.size === 0 || step === maxTokens) break;
    const next = answers.map((answer, element) => (running.has(element) ? answer.slice(-1) : []));
    logits = (await context.extend(next)).data;
  }
  return answers.map((answer) => beforeStop(tokenizer.decode(answer), stop).trim());
}

function beforeStop(text: string, stop: string): string {
  const end = text.indexOf(stop);
  return end === -1 ? text : text.slice(0, end);
}
