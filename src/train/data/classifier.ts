/**
 * A small classifier of text quality: hashed words and pairs of words, logistic regression (paper 4.2).
 *
 * A text is read in passages of at most 200 tokens (words, and marks that are no white space). A passage is a sparse
 * vector: three kinds of features are hashed to 2^16 places, whose values are counts over the square root of its length.
 *
 *   word         "walked"
 *   pair         "dog" "walked"
 *   pair of forms  "dog" "a-ed": a word of up to three letters itself, of a longer one its case and last two letters
 *
 * The pairs make order count: "of the" is common in what people write, "the of" is not; forms carry that over to words
 * that were in no training text. The probability of being good is a logistic regression's (`logistic.ts`); a text's score
 * is the mean of its passages' probabilities, so its length does not matter.
 *
 * The classifier knows only the languages and the kinds of text that it was trained on: train it with good texts of every
 * language of the corpus.
 */
import { z } from 'zod';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { corrupt, corruptions } from './corruption.ts';
import { detached } from './detached.ts';
import { hashText, mix } from './hash.ts';
import { type Features, type LogisticModel, probability, trainLogistic } from './logistic.ts';

export interface QualityExample {
  readonly text: string;
  readonly good: boolean;
}

const trainingSchema = z.strictObject({
  passes: z.int().min(1).default(12),
  rate: z.number().positive().default(0.5),
  /** λ of the penalty. */
  penalty: z.number().nonnegative().default(1e-5),
  /** Orders the passages. */
  seed: z.int().nonnegative().default(1),
});
export type ClassifierTraining = z.input<typeof trainingSchema>;

const segmenter = new Intl.Segmenter('und', { granularity: 'word' });
const places = 2 ** 16;
const passageTokens = 200;

/** Tells good texts from bad ones. Made by `trainClassifier`. */
export class QualityClassifier {
  readonly #model: LogisticModel;

  constructor(model: LogisticModel) {
    this.#model = model;
  }

  /** Probability, 0 to 1, that a text is good; of a text without any token 0. */
  score(text: string): number {
    const passages = passagesOf(text);
    if (passages.length === 0) return 0;
    return passages.reduce((sum, passage) => sum + probability(this.#model, passage), 0) / passages.length;
  }
}

/**
 * Trains on examples of both kinds; the same examples and options give the same classifier.
 * @throws Memory3Error "usage" if one kind is missing or an option is wrong.
 */
export function trainClassifier(
  examples: Iterable<QualityExample>,
  options: ClassifierTraining = {},
): QualityClassifier {
  const { passes, rate, penalty, seed } = checkOptions(trainingSchema, options);
  const passages = Array.from(examples).flatMap(({ text, good }) =>
    passagesOf(text).map((features) => ({ features, positive: good })),
  );
  const good = passages.filter(({ positive }) => positive).length;
  if (good === 0 || good === passages.length) {
    throw new Memory3Error('usage', 'A quality classifier is trained on good texts and bad ones; one kind is missing.');
  }
  const random = seededRandom(seed);
  return new QualityClassifier(trainLogistic(passages, { places, passes, rate, penalty, random }));
}

export interface SampleOptions {
  /** Texts, and characters of each. */
  readonly most?: number;
  readonly characters?: number;
  readonly seed?: number;
}

/**
 * The beginnings of at most 4000 texts of a stream, each as likely as any other to be among them (Algorithm R, Vitter
 * 1985). That is enough for a classifier, and fits into memory however long the stream is.
 */
export async function sampleTexts(
  texts: AsyncIterable<string> | Iterable<string>,
  { most = 4000, characters = 5000, seed = 1 }: SampleOptions = {},
): Promise<string[]> {
  const random = seededRandom(seed);
  const drawn: string[] = [];
  let seen = 0;
  for await (const text of texts) {
    const place = seen < most ? seen : Math.floor(random() * (seen + 1));
    if (place < most) drawn[place] = detached(text.slice(0, characters));
    seen++;
  }
  return drawn;
}

/** Good texts, and each corrupted in one of the ways in turn: what a classifier is trained on where there are no bad texts. */
export function* corruptedExamples(good: Iterable<string>, seed = 1): Generator<QualityExample, void> {
  const random = seededRandom(seed);
  for (const text of good) {
    yield { text, good: true };
    for (const kind of corruptions) yield { text: corrupt(text, kind, random), good: false };
  }
}

/** The hashes that a token's features are made of. */
interface HashedToken {
  readonly word: number;
  readonly form: number;
}

function passagesOf(text: string): Features[] {
  const tokens = tokensOf(text).map((token) => ({
    word: hashText(token.toLowerCase()),
    form: hashText(formOf(token)),
  }));
  // Passages of equal length, none much shorter than the others.
  const count = Math.ceil(tokens.length / passageTokens);
  return Array.from({ length: count }, (_, n) =>
    featuresOf(tokens.slice(Math.floor((n * tokens.length) / count), Math.floor(((n + 1) * tokens.length) / count))),
  );
}

/** Words, and what stands between them other than white space. */
function tokensOf(text: string): string[] {
  return Array.from(segmenter.segment(text), ({ segment }) => segment).filter((segment) => segment.trim() !== '');
}

/** "the" -> "the", "Walking" -> "A-ng", "walked" -> "a-ed", "1984" -> "0" */
function formOf(token: string): string {
  if (/^\p{N}+$/u.test(token)) return '0';
  if (token.length <= 3) return token.toLowerCase();
  const first = /^\p{Lu}/u.test(token) ? 'A' : 'a';
  return `${first}-${token.slice(-2).toLowerCase()}`;
}

function featuresOf(tokens: readonly HashedToken[]): Features {
  const counts = new Map<number, number>();
  const count = (...hashes: number[]) => {
    const place = hashes.reduce((sum, hash) => mix(Math.imul(sum, 31) + hash), hashes.length) & (places - 1);
    counts.set(place, (counts.get(place) ?? 0) + 1);
  };
  for (const [n, token] of tokens.entries()) {
    count(token.word);
    const before = tokens[n - 1];
    if (before === undefined) continue;
    count(before.word, token.word);
    // Twice the form tells the two kinds of pairs apart.
    count(before.form, token.form, token.form);
  }
  const scale = 1 / Math.sqrt(tokens.length);
  return { at: Uint16Array.from(counts.keys()), values: Float32Array.from(counts.values(), (value) => value * scale) };
}
