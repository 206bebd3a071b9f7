/**
 * Which tokens of a reference a question might ask for.
 *
 * If a reference may keep eight tokens, they had better be among those that an answer will need. The attention that a token
 * receives within its reference (paper 3.3) says little about that. A linear classifier on what the token hands on, its
 * values v in the memory layers, says more: the probability that an answer contains token j is
 *
 *   a_j = 1 / (1 + exp(-(b + sum over layers l and kv heads h of w_lh · v_lhj)))
 *
 * and with the scoring `answer-weighted` kv heads keep tokens by a_j received_j, spread so that not all keep the same
 * (`selection.ts`). It costs some thousand multiplications a token, in a tensor of an adapter; `train/conversion/fit-answers.ts`
 * fits it.
 */
import { Memory3Error } from '../errors.ts';
import type { ModelConfig } from '../model/config.ts';
import type { DenseTensor } from '../model/weights.ts';
import { decidingScoring, type MemoryProfile } from './profile.ts';

/** A classifier, and the memory layers whose values it looks at. */
export interface AnswerClassifier {
  readonly layers: readonly number[];
  /** Its `classifierShape`. */
  readonly weights: DenseTensor;
}

/** Shape of a classifier's weights: one weight for each number of a token's values, and the constant last. */
export function classifierShape({ kvHeads, headDim }: ModelConfig, layers: readonly number[]): [number] {
  return [layers.length * kvHeads * headDim + 1];
}

/** Key-values of one reference, `[layers, 2, kvHeads, tokens, headDim]`, of which the classifier reads the values. */
export interface ReadTokens {
  readonly keysValues: Float32Array;
  readonly layers: number;
  readonly kvHeads: number;
  readonly tokens: number;
  readonly headDim: number;
}

/** One token's values in all memory layers, `[layers, kvHeads, headDim]`: what the classifier looks at. */
export function tokenValues({ keysValues, layers, kvHeads, tokens, headDim }: ReadTokens, token: number): Float32Array {
  const values = new Float32Array(layers * kvHeads * headDim);
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < kvHeads; head++) {
      const from = (((layer * 2 + 1) * kvHeads + head) * tokens + token) * headDim;
      values.set(keysValues.subarray(from, from + headDim), (layer * kvHeads + head) * headDim);
    }
  }
  return values;
}

/** For each token the probability that an answer contains it. @param weights of a classifier for these layers */
export function answerProbabilities({ data }: Pick<DenseTensor, 'data'>, read: ReadTokens): Float32Array {
  return Float32Array.from({ length: read.tokens }, (_, token) => {
    const values = tokenValues(read, token);
    let sum = data.at(-1) as number;
    for (let i = 0; i < values.length; i++) sum += (data[i] as number) * (values[i] as number);
    return 1 / (1 + Math.exp(-sum));
  });
}

/** Scores `[planes, tokens]`, each times what its token weighs. */
export function weightScores(scores: Float32Array, weights: Float32Array): Float32Array {
  return scores.map((score, i) => score * (weights[i % weights.length] as number));
}

/**
 * The classifier by which a profile keeps tokens; null for profiles that keep them by something else, or keep all.
 * @throws Memory3Error "usage" if the model has none, or one for other memory layers.
 */
export function classifierFor(
  { answerClassifier }: { readonly answerClassifier: AnswerClassifier | null },
  profile: Pick<MemoryProfile, 'scoring' | 'layers' | 'keptTokens'>,
): AnswerClassifier | null {
  if (decidingScoring(profile) !== 'answer-weighted') return null;
  const { layers } = profile;
  const remedy = 'Open an adapter that has one for these layers, or choose another --scoring.';
  if (answerClassifier === null) {
    throw new Memory3Error('usage', 'This model has no classifier of answers, by which tokens would be kept.', {
      remedy,
    });
  }
  if (`${answerClassifier.layers}` === `${layers}`) return answerClassifier;
  throw new Memory3Error(
    'usage',
    `The adapter's classifier of answers is for the memory layers ${answerClassifier.layers}, not for ${layers}.`,
    { remedy },
  );
}
