/**
 * Which tokens of a reference a question might ask for.
 *
 * If a reference may keep eight tokens, they had better be among those that an answer will need. The attention that a token
 * receives within its reference (paper 3.3) says little about that. What tokens hand on, their values in the memory
 * layers, says more: small networks on them (`graph/answer-classifier.ts`) give the probability p_j that an answer
 * contains token j, and with the scoring `answer-weighted` kv heads keep tokens by p_j received_j, spread so that not all
 * keep the same (`selection.ts`). They are a tensor of an adapter; `train/conversion/fit-answers.ts` fits them.
 */
import { Memory3Error } from '../errors.ts';
import { classifierSize } from '../graph/answer-classifier.ts';
import type { ModelConfig } from '../model/config.ts';
import type { DenseTensor } from '../model/weights.ts';
import { decidingScoring, type MemoryProfile } from './profile.ts';

/** A classifier, and the layers whose values it looks at, whichever are memory layers. */
export interface AnswerClassifier {
  readonly layers: readonly number[];
  /** `[networks, numbers of each]` */
  readonly weights: DenseTensor;
}

/** Shape of a classifier's weights. */
export function classifierShape(
  { kvHeads, headDim }: ModelConfig,
  layers: readonly number[],
  networks: number,
): [number, number] {
  return [networks, classifierSize(layers.length * kvHeads * headDim)];
}

/**
 * The classifier by which a profile keeps tokens; null for profiles that keep them by something else, or keep all.
 * @throws Memory3Error "usage" if the model has none.
 */
export function classifierFor(
  { answerClassifier }: { readonly answerClassifier: AnswerClassifier | null },
  profile: Pick<MemoryProfile, 'scoring' | 'keptTokens'>,
): AnswerClassifier | null {
  if (decidingScoring(profile) !== 'answer-weighted') return null;
  if (answerClassifier !== null) return answerClassifier;
  throw new Memory3Error('usage', 'This model has no classifier of answers, by which tokens would be kept.', {
    remedy: 'Open an adapter that has one (to convert: --from), or choose another --scoring.',
  });
}
