/** From what a trainer learned to the tensors of an adapter (`memory/adapter.ts`), and back. */
import { Memory3Error } from '../errors.ts';
import { loraNames } from '../graph/parameters.ts';
import { trainerNames } from '../graph/trainer-inputs.ts';
import { type Adapter, summaryTokensName } from '../memory/adapter.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import type { ModelTrainer } from './model-trainer.ts';
import type { TrainingState } from './trainable.ts';

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

/**
 * What a trainer begins with to go on from an adapter: its companions and summary tokens, an optimiser that knows nothing yet.
 * @throws Memory3Error "mismatch" if the adapter does not change what the trainer trains, in the same rank, or if it has
 *   parts that the trainer does not go on with.
 * @example
 * await trainer.restore(adapterState(adapter, trainer));
 */
export function adapterState(adapter: Adapter, trainer: ModelTrainer): TrainingState {
  const { path, changes, summaryTokens } = adapter;
  refuseLoss(adapter, trainer);
  const known = new Map<string, TensorToWrite>();
  const scale = trainer.lora?.scale ?? 1;
  for (const name of changes.names) {
    const lowRank = changes.get(name)?.lowRank;
    if (lowRank === undefined) continue;
    const { a, b } = loraNames(name);
    known.set(a, lowRank.a);
    known.set(b, { ...lowRank.b, data: lowRank.b.data.map((value) => (value * lowRank.scale) / scale) });
  }
  if (summaryTokens !== null) known.set(trainerNames.summary, summaryTokens);
  const tensors = new Map<string, TensorToWrite>();
  for (const { name, shape } of trainer.trained) {
    const tensor = known.get(name);
    if (tensor === undefined || tensor.shape.join() !== shape.join()) {
      const found = tensor === undefined ? 'lacks it' : `has it as [${tensor.shape}]`;
      throw new Memory3Error(
        'mismatch',
        `Training would go on with "${name}" [${shape}]; the adapter ${path} ${found}.`,
        {
          remedy: 'Train with the rank, and with as many summary tokens, as the adapter has.',
        },
      );
    }
    const zeros = new Float32Array(tensor.data.length);
    tensors.set(`weights:${name}`, tensor);
    for (const part of ['mean', 'square']) tensors.set(`${part}:${name}`, { shape, data: zeros });
  }
  return { tensors, values: { updates: 0 } };
}

/** An adapter's parts that a trainer has no place for would be gone from what it learns. */
function refuseLoss({ path, changes, summaryTokens }: Adapter, { trained }: ModelTrainer): void {
  const names = new Set(trained.map(({ name }) => name));
  const without = (part: string, remedy: string) =>
    new Memory3Error('mismatch', `Training would go on without ${part} of the adapter ${path}.`, { remedy });
  if (summaryTokens !== null && !names.has(trainerNames.summary)) {
    const [count] = summaryTokens.shape;
    const flags = `--summary-tokens ${count} (and --mode memory)`;
    throw without(`the ${count} summary tokens`, `Train with ${flags}, or name another adapter with --from.`);
  }
  const lost = changes.names.find((name) => {
    const change = changes.get(name);
    return change?.difference !== undefined || (change?.lowRank !== undefined && !names.has(loraNames(name).a));
  });
  if (lost === undefined) return;
  throw without(
    `its change of "${lost}"`,
    'Name an adapter with --from that has low-rank changes of the matrices only.',
  );
}
