/**
 * Tokens that are kept by what a training graph does not compute in passing: at random, by reconstruction scores, which
 * want a second copy of every reference, or by a classifier of answers, which looks at all memory layers before any token
 * is kept (`graph/writer.ts`). They are chosen before the step, by a forward pass of the writer graph whose weights are
 * those under training, companions included; no gradient goes through a choice (paper 4.1), so nothing is lost by making
 * it outside.
 */
import { isTrainedScoring } from '../graph/trainer-inputs.ts';
import { tokenInputNames } from '../graph/transformer.ts';
import { buildWriter, writerNames } from '../graph/writer.ts';
import { classifierFor } from '../memory/answer-classifier.ts';
import { decidingScoring } from '../memory/profile.ts';
import { cutBodies, referenceBatch } from '../memory/reference-batch.ts';
import { selectAll } from '../memory/writer.ts';
import type { TensorData } from '../runtime/device.ts';
import type { BatchMemory, TrainingBatch } from './batch.ts';
import type { ModelTrainer } from './model-trainer.ts';

/** What decides which tokens of a reference are kept. */
export type TokenChoice = Pick<BatchMemory, 'profile' | 'keptTokens' | 'answerClassifier'>;

/**
 * Chooses the kept tokens of some references by the weights as they are, as `writeMemories` would.
 * @param references bodies in tokens
 * @param repeatPrompt token ids of "Repeat the reference:", needed by reconstruction scores only
 * @returns indices of body tokens, `[references][layers * kvHeads][kept]`, for `BatchMemory.chosen`
 * @throws Memory3Error "too-long" if header and body exceed 128 tokens, "usage" if a body is empty, or where the scoring
 *   wants a classifier that is not given
 */
export async function chooseTokens(
  trainer: ModelTrainer,
  references: readonly (readonly number[])[],
  { profile: { layers, ...rest }, keptTokens, answerClassifier = null }: TokenChoice,
  repeatPrompt: readonly number[] = [],
): Promise<number[][][]> {
  if (rest.scoring === 'summary') throw new Error('summary tokens are kept and not chosen');
  const { config } = trainer;
  const profile = { layers, ...rest, keptTokens };
  const classifier = classifierFor({ answerClassifier }, profile);
  const bodies = references.map((tokens) => ({ tokens }));
  const batch = referenceBatch(config, profile, bodies, repeatPrompt);
  const { scoring, tokens, positions, length, inputs } = batch;
  let scores: readonly Float32Array[] = [];
  if (scoring !== 'none') {
    const outputs = await trainer.runGraph(
      `writer:${scoring}:${layers}`,
      (makeParameters, options) =>
        buildWriter(config, makeParameters, {
          ...options,
          ...{ layers, scoring, embeddings: 'looked-up' },
          ...(classifier === null ? {} : { answerClassifier: classifier }),
        }),
      {
        [tokenInputNames.tokens]: integers([tokens.length], tokens),
        [tokenInputNames.positionIds]: integers([bodies.length, length], positions),
        ...inputs,
      },
      [writerNames.scores],
    );
    const planes = { planes: layers.length, kvHeads: config.kvHeads, width: 1 };
    scores = cutBodies(batch, outputs[writerNames.scores]?.data as Float32Array, planes);
  }
  return bodies.map((body, index) =>
    selectAll({ config }, profile, { body: body.tokens.length, summary: 0, scores: scores[index] }, body),
  );
}

/** The batch's memories with their tokens chosen, where its graph would not choose them. */
export async function withChosenTokens(
  trainer: ModelTrainer,
  { references }: TrainingBatch,
  memory: BatchMemory,
  repeatPrompt: readonly number[],
): Promise<BatchMemory> {
  const { profile, keptTokens, summaryTokens, chosen } = memory;
  if (summaryTokens > 0 || chosen !== undefined) return memory;
  if (isTrainedScoring(decidingScoring({ ...profile, keptTokens }))) return memory;
  return { ...memory, chosen: await chooseTokens(trainer, references, memory, repeatPrompt) };
}

function integers(shape: readonly number[], values: Int32Array): TensorData {
  return { type: 'int64', shape, data: BigInt64Array.from(values, BigInt) };
}
