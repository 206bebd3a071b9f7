/** From what a trainer learned to the tensors of an adapter (`memory/adapter.ts`). */
import { Memory3Error } from '../errors.ts';
import { trainerNames } from '../graph/trainer-inputs.ts';
import { summaryTokensName } from '../memory/adapter.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import type { ModelTrainer } from './model-trainer.ts';

/**
 * Companions and summary tokens in half precision, by their names in an adapter's file. The card's `scale` has to be the
 * trainer's, `trainer.lora.scale`; with summary tokens the card's profile keeps as many by "summary".
 * @throws Memory3Error "usage" if all weights were trained: of those an adapter holds differences.
 * @example
 * writeAdapter(folder, card, await adapterTensors(trainer), trainer.config);
 */
export async function adapterTensors(trainer: ModelTrainer): Promise<Map<string, TensorToWrite>> {
  if (trainer.lora === null) {
    throw new Memory3Error('usage', 'All weights of this model were trained, which gives no low-rank adapter.', {
      remedy: 'Save the model, or train with LoRA.',
    });
  }
  const tensors = await trainer.tensors();
  return new Map(
    Array.from(tensors, ([name, { shape, data }]) => [
      name === trainerNames.summary ? summaryTokensName : name,
      { shape, data, dtype: 'F16' },
    ]),
  );
}
