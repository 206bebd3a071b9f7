/** What a run came to in plain words: the same on the terminal and in the report. */

import type { Interval } from '../share.ts';
import type { MetricName } from '../tasks/task.ts';
import type { Compared } from './compare.ts';
import { type Average, type Cell, type Difference, isBetter } from './summary.ts';

/** What each metric says. */
export const metricWords: Readonly<Record<MetricName, string>> = {
  accuracy: 'share of items whose likeliest choice is right (of a continuation: that greedy decoding writes it)',
  'normalised-accuracy': 'the same for likelihood per character of the choice',
  mc2: "the true answers' share of the probability of all answers",
  exact:
    'share of items whose written answer equals a right one, but for case, punctuation and articles; of GSM8K whose last number is the right one',
  f1: 'words that written and right answer have in common, harmonic mean of precision and recall',
  contains: 'share of items whose written answer contains a right one',
  perplexity: 'exp of the mean negative log-likelihood; lower is better',
};

/** "better than none: +0.031 (+0.010 to +0.052)", "within noise of none: +0.005 (-0.020 to +0.030)" */
export function describeDifference(metric: MetricName, difference: Difference): string {
  const { to, items } = difference;
  if (items === 0) return `no item in common with ${to}`;
  const verdict = isBetter(metric, difference);
  const words = verdict === null ? 'within noise of' : verdict ? 'better than' : 'worse than';
  return `${words} ${to}: ${amount(difference)}`;
}

/** The same of two runs: "better: +0.031 (+0.010 to +0.052)" */
export function describeComparison({ metric, difference }: Pick<Compared, 'metric' | 'difference'>): string {
  if (difference.items === 0) return 'no item in common';
  const verdict = isBetter(metric, difference);
  return `${verdict === null ? 'within noise' : verdict ? 'better' : 'worse'}: ${amount(difference)}`;
}

export type Verdict = 'better' | 'worse' | 'noise';

export function verdictOf(better: boolean | null): Verdict {
  return better === null ? 'noise' : better ? 'better' : 'worse';
}

function amount({ value, low, high }: Interval): string {
  return `${signed(value)} (${signed(low)} to ${signed(high)})`;
}

/** What is to be known about a cell; what is left out is said where something is. */
export function remarks({ tooLong, leftOut, short, held, heldOf, noGold, goldLeftOut, items }: Cell): string[] {
  if (items === 0 && noGold > 0) return ['no gold passages'];
  return [
    ...(held === null ? [] : [`answer in a reference: ${held} of ${heldOf}`]),
    ...(noGold === 0 ? [] : [`without a gold passage: ${noGold}`]),
    ...(goldLeftOut === 0 ? [] : [`pieces of gold passages left out: ${goldLeftOut}`]),
    ...(leftOut === 0 ? [] : [`overlapping references left out: ${leftOut}`]),
    ...(short === 0 ? [] : [`with fewer references: ${short}`]),
    ...(tooLong === 0 ? [] : [`too long: ${tooLong}`]),
  ];
}

/** "mean of 5 tasks" */
export function meanOf({ tasks }: Pick<Average, 'tasks'>): string {
  return `mean of ${tasks.length} tasks`;
}

/** "0.412 to 0.531" */
export function describeInterval({ low, high }: { readonly low: number; readonly high: number }): string {
  return Number.isNaN(low) ? '-' : `${decimal(low)} to ${decimal(high)}`;
}

export function decimal(value: number, digits = 3): string {
  return Number.isNaN(value) ? '-' : value.toFixed(digits);
}

export function signed(value: number, digits = 3): string {
  return `${value > 0 ? '+' : ''}${decimal(value, digits)}`;
}
