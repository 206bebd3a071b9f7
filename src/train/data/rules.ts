/**
 * The paper's rules against poor text (4.2), as five measures of a document with a limit each:
 *
 *   few-words       fewer than 50 words
 *   long-words      mean word length over 10 characters
 *   non-alphabetic  over 70 % of the characters that are not white space are no letters
 *   unique-words    an odd share of different words: text that repeats itself, or lists that never do
 *   low-entropy     Shannon entropy of the document's words, in nats, under 3: a text of e^3 = 20 equally frequent words
 *
 * Words are those of `wordsOf` (Intl.Segmenter): for Chinese and other scripts without spaces a dictionary finds them, so
 * they have 1.6 characters on average and every rule means what it means for English; Chinese characters are letters.
 *
 * The share of different words falls with a text's length (Heaps' law). It is therefore taken of every 100 words
 * following one another and averaged, the standardised type-token ratio. Of the documents with enough words of OpenStax
 * textbooks, Wikipedia, C4, contracts and CMRC 2018 (Chinese), 99 % lie between 0.51 and 0.89.
 */

export const ruleNames = ['few-words', 'long-words', 'non-alphabetic', 'unique-words', 'low-entropy'] as const;
export type RuleName = (typeof ruleNames)[number];

export interface RuleLimits {
  readonly minWords: number;
  /** Characters. */
  readonly maxMeanWordLength: number;
  /** Share of the characters that are not white space. */
  readonly maxNonAlphabetic: number;
  readonly minUniqueWords: number;
  readonly maxUniqueWords: number;
  /** Nats. */
  readonly minEntropy: number;
}

export const defaultRuleLimits: RuleLimits = {
  minWords: 50,
  maxMeanWordLength: 10,
  maxNonAlphabetic: 0.7,
  minUniqueWords: 0.3,
  maxUniqueWords: 0.97,
  minEntropy: 3,
};

/** What the rules look at. Ratios of an empty text are 0. */
export interface TextMeasures {
  readonly words: number;
  readonly meanWordLength: number;
  readonly nonAlphabetic: number;
  readonly uniqueWords: number;
  readonly entropy: number;
}

/** Words that the share of different words is taken of. */
const uniqueWindow = 100;

/**
 * @param words `wordsOf(text)`
 */
export function measureText(text: string, words: readonly string[]): TextMeasures {
  const folded = words.map((word) => word.toLowerCase());
  const visible = text.replace(/\s+/gu, '').length;
  const symbols = text.replace(/[\p{Alphabetic}\p{M}\s]+/gu, '').length;
  return {
    words: words.length,
    meanWordLength: ratio(
      words.reduce((sum, word) => sum + word.length, 0),
      words.length,
    ),
    nonAlphabetic: ratio(symbols, visible),
    uniqueWords: meanUniqueShare(folded),
    entropy: entropy(folded),
  };
}

/** The rules that a document breaks, in the order of `ruleNames`; none if it may stay. */
export function brokenRules(measures: TextMeasures, limits: RuleLimits = defaultRuleLimits): RuleName[] {
  const broken: Record<RuleName, boolean> = {
    'few-words': measures.words < limits.minWords,
    'long-words': measures.meanWordLength > limits.maxMeanWordLength,
    'non-alphabetic': measures.nonAlphabetic > limits.maxNonAlphabetic,
    'unique-words': measures.uniqueWords < limits.minUniqueWords || measures.uniqueWords > limits.maxUniqueWords,
    'low-entropy': measures.entropy < limits.minEntropy,
  };
  return ruleNames.filter((name) => broken[name]);
}

/** Of whole windows; a text shorter than one is a window itself. */
function meanUniqueShare(words: readonly string[]): number {
  const windows = Math.max(1, Math.floor(words.length / uniqueWindow));
  let sum = 0;
  for (let window = 0; window < windows; window++) {
    const part = words.slice(window * uniqueWindow, (window + 1) * uniqueWindow);
    sum += ratio(new Set(part).size, part.length);
  }
  return sum / windows;
}

function entropy(words: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  let sum = 0;
  for (const count of counts.values()) sum -= (count / words.length) * Math.log(count / words.length);
  return sum;
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
