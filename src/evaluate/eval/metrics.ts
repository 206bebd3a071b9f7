/**
 * What an item's result is worth, by each metric, and what the results of many items come to.
 *
 *   accuracy              1 if the likeliest choice is right (of a continuation: if greedy decoding writes it)
 *   normalised-accuracy   the same for likelihood per character of the choice, so that long ones are not at a disadvantage
 *   mc2                   the right choices' share of the probability of all: sum of exp(log P) over the right ones / over all
 *   exact, f1, contains   see answers.ts
 *   perplexity            exp of the mean negative log-likelihood, over tokens of texts, over items of continuations
 *
 * An item gives a score and a weight. A cell is the weighted mean of its items' scores, for perplexity exp of that.
 */
import { containsAnswer, exactMatch, f1Score } from '../answers.ts';
import type { MetricName } from '../tasks/task.ts';

/** Scores of one item; all have the same weight. */
export type Scores = Readonly<Partial<Record<MetricName, number>>>;

export interface MetricKind {
  readonly better: 'higher' | 'lower';
  /** Of the weighted mean. */
  readonly value: (mean: number) => number;
}

const share: MetricKind = { better: 'higher', value: (mean) => mean };

export const metricKinds: Readonly<Record<MetricName, MetricKind>> = {
  accuracy: share,
  'normalised-accuracy': share,
  mc2: share,
  exact: share,
  f1: share,
  contains: share,
  perplexity: { better: 'lower', value: Math.exp },
};

/** A score with its item's weight. */
export interface Weighted {
  readonly score: number;
  readonly weight: number;
}

/**
 * The value of a metric over items.
 * @param drawn which of them, perhaps some of them several times; null: each once
 */
export function cellValue(
  metric: MetricName,
  scores: readonly Weighted[],
  drawn: ArrayLike<number> | null = null,
): number {
  let [sum, weights] = [0, 0];
  const count = drawn?.length ?? scores.length;
  for (let i = 0; i < count; i++) {
    const { score, weight } = scores[drawn?.[i] ?? i] as Weighted;
    sum += score * weight;
    weights += weight;
  }
  return metricKinds[metric].value(sum / weights);
}

/**
 * @param logLikelihoods of each choice, nats
 * @param texts the choices; a space in front does not count
 */
export function choiceScores(
  logLikelihoods: readonly number[],
  texts: readonly string[],
  right: readonly number[],
): Record<'accuracy' | 'normalised-accuracy' | 'mc2', number> {
  const perCharacter = logLikelihoods.map((one, index) => one / Math.max(1, (texts[index] ?? '').trimStart().length));
  return {
    accuracy: right.includes(largest(logLikelihoods)) ? 1 : 0,
    'normalised-accuracy': right.includes(largest(perCharacter)) ? 1 : 0,
    mc2: probabilityShare(logLikelihoods, right),
  };
}

export function answerScores(answer: string, right: readonly string[]): Record<'exact' | 'f1' | 'contains', number> {
  return { exact: exactMatch(answer, right), f1: f1Score(answer, right), contains: containsAnswer(answer, right) };
}

/** Of an answer that was taken out of what was written, to the letter: "1.8" is not "18", as it is by SQuAD's rule. */
export function extractedScores(extracted: string, right: readonly string[]): Record<'exact', number> {
  return { exact: right.includes(extracted) ? 1 : 0 };
}

/** Index of the largest value, the first of equals. */
export function largest(values: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) {
    if ((values[index] as number) > (values[best] as number)) best = index;
  }
  return best;
}

function probabilityShare(logLikelihoods: readonly number[], right: readonly number[]): number {
  // Relative to the largest: the probabilities themselves may be too small for a number.
  const most = Math.max(...logLikelihoods);
  const parts = logLikelihoods.map((one) => Math.exp(one - most));
  const sum = (some: readonly number[]) => some.reduce((total, one) => total + one, 0);
  return sum(right.map((index) => parts[index] as number)) / sum(parts);
}
