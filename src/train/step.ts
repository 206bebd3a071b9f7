/** One optimiser step made of several passes, and a mean loss over several passes: what every kind of training does. */
import type { BatchMemory, TrainingBatch } from './batch.ts';
import type { ModelTrainer } from './model-trainer.ts';
import type { StepResult } from './trainable.ts';

/** One batch through the model, with its memories if it has any. */
export interface Pass {
  readonly batch: TrainingBatch;
  readonly memory: BatchMemory | undefined;
}

/** Adds up the gradients of the passes and updates the weights once. @param rate learning rate */
export async function learn(trainer: ModelTrainer, passes: AsyncIterable<Pass>, rate: number): Promise<StepResult> {
  let [sum, weight, tokens] = [0, 0, 0];
  for await (const { batch, memory } of passes) {
    const result = await trainer.accumulate(batch, memory);
    sum += result.sum;
    weight += result.weight;
    tokens += result.tokens;
  }
  return { gradientNorm: await trainer.update(rate), loss: sum / weight, tokens };
}

/** Mean nats per unit of weight; nothing changes. @throws the signal's reason, between two passes */
export async function meanLoss(
  trainer: ModelTrainer,
  passes: AsyncIterable<Pass>,
  signal?: AbortSignal,
): Promise<number> {
  let [sum, weight] = [0, 0];
  for await (const { batch, memory } of passes) {
    signal?.throwIfAborted();
    const result = await trainer.measure(batch, memory);
    sum += result.sum;
    weight += result.weight;
  }
  return sum / weight;
}
