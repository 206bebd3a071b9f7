/**
 * Tokens that are kept by what a training graph does not compute in passing: at random, or by reconstruction scores, which
 * want a second copy of every reference (`graph/writer.ts`). They are chosen before the step, by a forward pass of the
 * writer graph whose weights are those under training, companions included; no gradient goes through a choice (paper 4.1),
 * so nothing is lost by making it outside.
 */
import { Memory3Error } from '../errors.ts';
import { isTrainedScoring } from '../graph/trainer-inputs.ts';
import { tokenInputNames } from '../graph/transformer.ts';
import { buildWriter, writerNames } from '../graph/writer.ts';
import { cutBodies, referenceBatch } from '../memory/reference-batch.ts';
import { selectAll } from '../memory/writer.ts';
import type { TensorData } from '../runtime/device.ts';
import type { BatchMemory, TrainingBatch } from './batch.ts';
import type { ModelTrainer } from './model-trainer.ts';

/** What decides which tokens of a reference are kept. */
export type TokenChoice = Pick<BatchMemory, 'profile' | 'keptTokens'>;

/**
 * Chooses the kept tokens of some references by the weights as they are, as `writeMemories` would.
 * @param references bodies in tokens
 * @param repeatPrompt token ids of "Repeat the reference:", needed by reconstruction scores only
 * @returns indices of body tokens, `[references][layers * kvHeads][kept]`, for `BatchMemory.chosen`
 * @throws Memory3Error "too-long" if header and body exceed 128 tokens, "usage" if a body is empty or the scoring is
 *   `answer-weighted`
 */
export async function chooseTokens(
  trainer: ModelTrainer,
  references: readonly (readonly number[])[],
  { profile: { layers, ...rest }, keptTokens }: TokenChoice,
  repeatPrompt: readonly number[] = [],
): Promise<number[][][]> {
  if (rest.scoring === 'summary') throw new Error('summary tokens are kept and not chosen');
  if (rest.scoring === 'answer-weighted') {
    throw new Memory3Error(
      'usage',
      'A classifier of answers is fitted to a trained model, and cannot choose tokens before.',
      {
        remedy: 'Train with another --scoring; the classifier is fitted afterwards.',
      },
    );
  }
  const { config } = trainer;
  const profile = { layers, ...rest, keptTokens };
  const bodies = references.map((tokens) => ({ tokens }));
  const batch = referenceBatch(config, profile, bodies, repeatPrompt);
  const { scoring, tokens, positions, length, inputs } = batch;
  let scores: readonly Float32Array[] = [];
  if (scoring !== 'none') {
    const outputs = await trainer.runGraph(
      `writer:${scoring}:${layers}`,
      (makeParameters, options) =>
        buildWriter(config, makeParameters, { ...options, layers, scoring, embeddings: 'looked-up' }),
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
  const { profile, summaryTokens, chosen } = memory;
  if (summaryTokens > 0 || chosen !== undefined || isTrainedScoring(profile.scoring)) return memory;
  return { ...memory, chosen: await chooseTokens(trainer, references, memory, repeatPrompt) };
}

function integers(shape: readonly number[], values: Int32Array): TensorData {
  return { type: 'int64', shape, data: BigInt64Array.from(values, BigInt) };
}
