/**
 * Supervised fine-tuning (paper 6): chats in the model's own template, with a loss on the answers only.
 *
 *   loss = sum_i w_i (-log P(t_i | what stands before it in its sample, the references of its chunk)) / sum_i w_i
 *
 * over the tokens t_i of all sequences of a step; w_i is 1 for tokens of answers and their ends, 0 for all others. Samples are packed
 * (`packing.ts`): a sequence holds several, none sees another and the positions of each start anew, so the loss is that of the
 * samples one by one. A step accumulates the gradients of `batch` sequences, one after the other.
 *
 * Every epoch shows all sequences in another order, and an epoch need not end with a step. References are recalled when a
 * sequence comes, so a run starts at once; the same sequence always recalls the same.
 *
 * The samples of a set fit into memory: 100 000 chats of 300 tokens take 270 MB.
 */
import { Memory3Error } from '../../errors.ts';
import { chunkTokens } from '../../memory/profile.ts';
import { sequenceOrder } from '../data/order.ts';
import type { ModelTrainer } from '../model-trainer.ts';
import { positionOf } from '../position.ts';
import { learn, meanLoss, type Pass } from '../step.ts';
import type { StepResult, Trainable, TrainingState } from '../trainable.ts';
import { type FineTuningMemory, packedBatch } from './batches.ts';
import type { TrainingSample } from './chat-examples.ts';
import { type PackedSequence, packSamples } from './packing.ts';

/** Samples and the sequences that they are packed into. */
export interface PackedSamples {
  readonly samples: readonly TrainingSample[];
  readonly sequences: readonly PackedSequence[];
  /** Numbers of samples longer than a sequence. */
  readonly leftOut: readonly number[];
}

/**
 * Packs a whole set.
 * @param length tokens in a sequence, a multiple of 64 where references are recalled
 * @param memory whether samples start at multiples of 64, as chunks with references need
 * @throws Memory3Error "usage" for a length that is none
 */
export async function packAll(
  samples: readonly TrainingSample[],
  { length, memory }: { readonly length: number; readonly memory: boolean },
): Promise<PackedSamples> {
  const windows = await Array.fromAsync(packSamples(samples, { length, alignment: memory ? chunkTokens : 1 }));
  return {
    samples,
    sequences: windows.flatMap(({ sequences }) => sequences),
    leftOut: windows.flatMap(({ leftOut }) => leftOut),
  };
}

export interface SupervisedOptions {
  readonly trainer: ModelTrainer;
  readonly training: PackedSamples;
  /** Its loss is validated as "answers"; null: nothing is. */
  readonly validation: PackedSamples | null;
  /** Null: samples see no references. */
  readonly memory: FineTuningMemory | null;
  /** Sequences in a step. */
  readonly batch: number;
  /** Orders the sequences. */
  readonly seed: number;
}

/** Drive it with `runTraining`. */
export class SupervisedFineTuning implements Trainable {
  readonly #options: SupervisedOptions;
  readonly #order: ReturnType<typeof sequenceOrder>;
  /** Steps done. */
  #position = 0;

  /** @throws Memory3Error "usage" if there is nothing to learn from. */
  constructor(options: SupervisedOptions) {
    this.#options = options;
    if (options.training.sequences.length === 0) {
      throw new Memory3Error('usage', 'There is no conversation to learn from that fits into a sequence.');
    }
    this.#order = sequenceOrder(options.seed, options.training.sequences.length);
  }

  async step(rate: number): Promise<StepResult> {
    const { trainer, training, batch } = this.#options;
    const first = this.#position * batch;
    const sequences = Array.from(
      { length: batch },
      (_, i) => training.sequences[this.#order.index(first + i)] as PackedSequence,
    );
    const result = await learn(trainer, this.#passes(sequences, training.samples), rate);
    this.#position++;
    return result;
  }

  /** Nats per token of the held-out answers. */
  async validate(signal?: AbortSignal): Promise<Readonly<Record<string, number>>> {
    const { trainer, validation } = this.#options;
    if (validation === null) return {};
    return { answers: await meanLoss(trainer, this.#passes(validation.sequences, validation.samples), signal) };
  }

  /** References are recalled when their sequence comes. */
  async *#passes(sequences: readonly PackedSequence[], samples: readonly TrainingSample[]): AsyncGenerator<Pass, void> {
    for (const sequence of sequences)
      yield await packedBatch(this.#options.trainer, sequence, samples, this.#options.memory);
  }

  async state(): Promise<TrainingState> {
    const { tensors, values } = await this.#options.trainer.state();
    return { tensors, values: { ...values, position: this.#position } };
  }

  async restore(state: TrainingState): Promise<void> {
    await this.#options.trainer.restore(state);
    this.#position = positionOf(state);
  }
}
