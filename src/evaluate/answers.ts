/** Exact match and F1 of answers as SQuAD defines them (Rajpurkar et al. 2016), with Chinese counted by character. */

/** Lower case, without punctuation, articles and extra spaces. */
export function normaliseAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\p{P}\p{S}]/gu, '')
    .replace(/\b(a|an|the)\b/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** 1 if the answer equals one of the right ones after normalisation, else 0. */
export function exactMatch(answer: string, right: readonly string[]): number {
  const normalised = normaliseAnswer(answer);
  return right.some((candidate) => normaliseAnswer(candidate) === normalised) ? 1 : 0;
}

/** Harmonic mean of precision and recall over words, the best over the right answers. */
export function f1Score(answer: string, right: readonly string[]): number {
  return Math.max(0, ...right.map((candidate) => wordOverlap(answerWords(answer), answerWords(candidate))));
}

function answerWords(text: string): string[] {
  return normaliseAnswer(text).match(/\p{Script=Han}|[^\s\p{Script=Han}]+/gu) ?? [];
}

function wordOverlap(answer: readonly string[], right: readonly string[]): number {
  // An unanswerable question is answered rightly by saying nothing.
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
