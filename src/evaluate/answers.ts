/**
 * Exact match and F1 of answers as SQuAD publishes them (Rajpurkar et al. 2016, 2018), with Chinese counted by character.
 *
 *   normalised   lower case; without ASCII punctuation; without a, an, the; white space as single spaces
 *   exact match  1 if the normalised answer is one of the normalised right ones
 *   F1           harmonic mean of precision and recall over words, each counted as often as both have it; the best right answer
 *   no answer    a question without right answers is answered by saying nothing: then both are 1, else 0
 *
 * A right answer that is nothing but articles and punctuation does not count, unless none is left. Text with Han characters
 * loses its other punctuation too ("，。《》"): SQuAD's rule knows only ASCII, and there it is followed to the letter.
 */

const articles = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;
const asciiPunctuation = /[!-/:-@[-`{-~]/g;
const han = /\p{Script=Han}/u;

/** What is compared of an answer. */
export function normaliseAnswer(text: string): string {
  const lower = text.toLowerCase().replace(asciiPunctuation, '');
  return (han.test(lower) ? lower.replace(/[\p{P}\p{S}]/gu, '') : lower)
    .replace(articles, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** 1 if the answer equals one of the right ones after normalisation, else 0. */
export function exactMatch(answer: string, right: readonly string[]): number {
  return normalisedRight(right).includes(normaliseAnswer(answer)) ? 1 : 0;
}

/** Harmonic mean of precision and recall over words, the best over the right answers. */
export function f1Score(answer: string, right: readonly string[]): number {
  const words = wordsOf(normaliseAnswer(answer));
  return Math.max(...normalisedRight(right).map((candidate) => wordOverlap(words, wordsOf(candidate))));
}

/** 1 if a right answer's words stand in the answer, one behind the other, else 0; without right answers, as exact match. */
export function containsAnswer(answer: string, right: readonly string[]): number {
  const words = wordsOf(normaliseAnswer(answer));
  return normalisedRight(right).some((candidate) => isWithin(wordsOf(candidate), words)) ? 1 : 0;
}

/** At least one. */
function normalisedRight(right: readonly string[]): string[] {
  const normalised = right.map(normaliseAnswer).filter((one) => one !== '');
  return normalised.length > 0 ? normalised : [''];
}

function wordsOf(normalised: string): string[] {
  return normalised.match(/\p{Script=Han}|[^\s\p{Script=Han}]+/gu) ?? [];
}

function isWithin(part: readonly string[], whole: readonly string[]): boolean {
  if (part.length === 0) return whole.length === 0;
  return whole.some((_, start) => part.every((word, index) => whole[start + index] === word));
}

function wordOverlap(answer: readonly string[], right: readonly string[]): number {
  if (answer.length === 0 || right.length === 0) return answer.length === right.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of answer) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    common++;
  }
  return common === 0 ? 0 : (2 * common) / (answer.length + right.length);
}
