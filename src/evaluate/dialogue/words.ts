/** What the scores of dialogues say, in words. */
import type { Difference } from '../eval/summary.ts';
import { signed } from '../eval/words.ts';
import type { Interval } from '../share.ts';
import type { DialogueCell } from './summary.ts';

/** "better than none: +0.52 (+0.10 to +0.94)" */
export function describeDifference({ to, value, low, high, items, noise }: Difference): string {
  if (items === 0) return `no question in common with ${to}`;
  const word = noise ? 'within noise of' : value > 0 ? 'better than' : 'worse than';
  return `${word} ${to}: ${signed(value, 2)} (${signed(low, 2)} to ${signed(high, 2)})`;
}

/** What is to be known beside a score. */
export function remarks({ tooLong, cut, leftOut }: DialogueCell): string[] {
  return [
    ...(cut === 0 ? [] : [`cut off: ${cut}`]),
    ...(tooLong === 0 ? [] : [`too long: ${tooLong}`]),
    ...(leftOut === 0 ? [] : [`overlapping references left out: ${leftOut}`]),
  ];
}

/** "4.13 (3.50 to 4.75)" */
export function describeScore({ value, low, high }: Interval): string {
  return Number.isNaN(value) ? '-' : `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}
