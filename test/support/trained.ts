/** Trainers as they are after training, without the training: every number that is learned has some value. */
import { loraNames } from '../../src/graph/parameters.ts';
import { trainerNames } from '../../src/graph/trainer-inputs.ts';
import type { ModelSource } from '../../src/memory/model.ts';
import { mergedWeights, type WeightChanges } from '../../src/model/merged-weights.ts';
import type { DenseTensor } from '../../src/model/weights.ts';
import type { ModelTrainer } from '../../src/train/model-trainer.ts';
import { randomValues } from './adapter.ts';

/** Gives companions and summary tokens random values that half precision holds exactly. */
export async function pretendTrained(trainer: ModelTrainer, seed = 1): Promise<void> {
  const { tensors, values } = await trainer.state();
  for (const [index, { name, shape }] of trainer.trained.entries()) {
    const largest = name === trainerNames.summary ? 0.5 : 0.2;
    const count = shape.reduce((product, extent) => product * extent, 1);
    const data = Float32Array.from(new Float16Array(randomValues(count, largest, seed + index)));
    (tensors as Map<string, unknown>).set(`weights:${name}`, { shape, data });
  }
  await trainer.restore({ tensors, values });
}

export interface Trained {
  /** With the companions merged in full precision. */
  readonly source: ModelSource;
  readonly summaryTokens: DenseTensor | null;
}

/** What a trainer with companions has made of a model, for inference. */
export async function trainedModel(base: ModelSource, trainer: ModelTrainer): Promise<Trained> {
  const tensors = await trainer.tensors();
  const dense = (name: string): DenseTensor | null => {
    const tensor = tensors.get(name);
    return tensor === undefined ? null : { kind: 'dense', shape: tensor.shape, data: tensor.data };
  };
  const matrices = trainer.lora?.matrices ?? new Set<string>();
  const changes: WeightChanges = {
    names: [...matrices],
    get(name) {
      const [a, b] = [dense(loraNames(name).a), dense(loraNames(name).b)];
      return a === null || b === null ? undefined : { lowRank: { a, b, scale: trainer.lora?.scale ?? 1 } };
    },
  };
  const weights = mergedWeights(base.weights, changes, 'f32');
  return { source: { config: base.config, weights }, summaryTokens: dense(trainerNames.summary) };
}
