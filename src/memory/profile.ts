/** Which of a reference's key-values are kept, part of a converted model's identity (paper 3.2, 3.3). */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';

/**
 * How the kept tokens are chosen: by scores of the body's tokens (`graph/writer.ts`; of `answer-weighted`,
 * `answer-classifier.ts`), at random, or `summary`: none of the body's, but as many learned tokens that an adapter brings,
 * read behind the body.
 */
export const scorings = [
  'received',
  'answer-weighted',
  'received-unnormalised',
  'value-norm',
  'reconstruction',
  'random',
  'summary',
] as const;
export type Scoring = (typeof scorings)[number];
export const storages = ['f16', 'int8'] as const;

/** Longest reference, header and body together, in tokens (paper 3.1). */
export const referenceTokens = 128;
/** Tokens between two recalls (paper 3.1). */
export const chunkTokens = 64;

export const memoryProfileSchema = z.strictObject({
  /** Memory layers, ascending: those whose attention reads memories. */
  layers: z.array(z.int().nonnegative()).nonempty().readonly(),
  /** Body tokens (or summary tokens) kept per memory layer and kv head. */
  keptTokens: z.union([z.int().min(1).max(referenceTokens), z.literal('all')], {
    error: `A whole number from 1 to ${referenceTokens} is expected, or "all".`,
  }),
  scoring: z.enum(scorings),
  storage: z.enum(storages),
  /** Token ids of the modified bos "<bos>Reference:"; the first is the model's document-start token. */
  header: z.array(z.int().nonnegative()).nonempty().readonly(),
});
export type MemoryProfile = z.infer<typeof memoryProfileSchema>;

/** The scoring that decides what a profile keeps: where all tokens are kept, the classifier of `answer-weighted` chooses none. */
export function decidingScoring({ scoring, keptTokens }: Pick<MemoryProfile, 'scoring' | 'keptTokens'>): Scoring {
  return keptTokens === 'all' && scoring === 'answer-weighted' ? 'received' : scoring;
}

/**
 * Summary tokens that are read behind each body, and alone kept; 0 where a profile keeps tokens of the body.
 * @throws Memory3Error "usage" if the profile wants them but not a number of them.
 */
export function summaryTokenCount({ scoring, keptTokens }: Partial<MemoryProfile>): number {
  if (scoring !== 'summary') return 0;
  if (typeof keptTokens === 'number') return keptTokens;
  throw new Memory3Error('usage', 'A profile with summary tokens has to say how many, not "all".', {
    remedy: 'Keep as many tokens as the adapter has summary tokens.',
  });
}

/** What decides how long a body may be; a header alone stands for a profile that keeps body tokens. */
export type BodyProfile = Partial<Pick<MemoryProfile, 'scoring' | 'keptTokens'>> & {
  readonly header: readonly number[];
};

/** Longest body of a reference, in tokens: header, body and summary tokens together are at most 128. */
export function longestBody(profile: BodyProfile): number {
  return referenceTokens - profile.header.length - summaryTokenCount(profile);
}

/** Named choices of memory layers; a list of layer numbers is a choice too. */
export type LayerChoice = 'first-half' | 'middle' | 'last-half' | 'all' | `last-${number}` | readonly number[];

/**
 * The layers of a choice for a model with `layers` layers: the paper's first half (3.3), the middle half that it
 * suspects to be better, the last half, the last n, all, or the given ones.
 * @throws Memory3Error "usage" for an unknown choice or a layer that the model does not have.
 * @example memoryLayers('last-20', 30) // [10, ..., 29]
 */
export function memoryLayers(choice: LayerChoice | string, layers: number): [number, ...number[]] {
  const chosen = Array.isArray(choice) ? [...choice] : namedLayers(choice as string, layers);
  const sorted = [...new Set(chosen)].sort((a, b) => a - b);
  const [first, ...rest] = sorted;
  if (first === undefined || sorted.some((layer) => !Number.isInteger(layer) || layer < 0 || layer >= layers)) {
    throw new Memory3Error('usage', `"${choice}" is no choice of memory layers for a model with ${layers} layers.`, {
      remedy: 'Use first-half, middle, last-half, all, last-N, or layer numbers separated by commas.',
    });
  }
  return [first, ...rest];
}

function namedLayers(choice: string, layers: number): number[] {
  const half = Math.floor(layers / 2);
  const from = (start: number, count: number) => Array.from({ length: count }, (_, i) => start + i);
  if (choice === 'first-half') return from(0, half);
  if (choice === 'middle') return from(Math.ceil(layers / 4), half);
  if (choice === 'last-half') return from(half, layers - half);
  if (choice === 'all') return from(0, layers);
  const last = /^last-(\d+)$/.exec(choice)?.[1];
  if (last !== undefined) return Number(last) > layers ? [] : from(layers - Number(last), Number(last));
  return choice.split(',').map((part) => (/^\d+$/.test(part.trim()) ? Number(part) : Number.NaN));
}
