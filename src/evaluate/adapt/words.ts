/** What people read of a report: names and numbers, on the page and in the terminal alike. */

import { signed } from '../eval/words.ts';
import type { Arm, Metric } from './records.ts';
import { type Difference, type DomainSummary, isBetter } from './summary.ts';

export const armTitles: Readonly<Record<Arm, string>> = {
  before: 'before',
  memory: 'memory',
  tuned: 'fine-tuned',
  rag: 'RAG',
};

export const metricTitles: Readonly<Record<Metric, string>> = {
  nats: 'nats a token',
  exact: 'exact match',
  f1: 'F1',
  accuracy: 'accuracy',
  'normalised-accuracy': 'accuracy per character',
};

/** "better than RAG: -0.120 (-0.200 to -0.050)" */
export function describeDifference(metric: Metric, difference: Difference): string {
  const { to, value, low, high } = difference;
  const better = isBetter(metric, difference);
  const verdict = better === null ? 'within noise of' : better ? 'better than' : 'worse than';
  return `${verdict} ${armTitles[to]}: ${signed(value)} (${signed(low)} to ${signed(high)})`;
}

/** Whether the conversion had seen the domain, as a sentence. */
export function seenNote({ seenInConversion }: Pick<DomainSummary, 'seenInConversion'>): string {
  return seenInConversion
    ? "Seen in the conversion's training: texts or questions of the same data set."
    : "Not seen in the conversion's training.";
}

/** "350 ms", "12.3 s", "3 min 20 s" */
export function formatSeconds(seconds: number | null): string {
  if (seconds === null) return 'not measured';
  if (seconds === 0) return '0 s';
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
