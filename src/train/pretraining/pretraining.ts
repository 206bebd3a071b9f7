/**
 * Pretraining, as something that a run can drive: sequences of a corpus in their order, read as an ordinary language model
 * ("warmup") or with the references of their chunks ("continual train", paper 4.1).
 *
 * Which stage it is says `memory` alone; sequences, order and predicted tokens are the same in both, so arms of an
 * experiment differ in nothing else. Losses are means over the predicted tokens.
 */
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { chunkTokens, type MemoryProfile } from '../../memory/profile.ts';
import type { BatchMemory, TrainingBatch } from '../batch.ts';
import { withChosenTokens } from '../choose-tokens.ts';
import type { SequenceOrder } from '../data/order.ts';
import type { ModelTrainer } from '../model-trainer.ts';
import { learn, type Pass } from '../step.ts';
import type { StepResult, Trainable, TrainingState } from '../trainable.ts';
import { type SequenceSource, sequenceBatch } from './sequences.ts';

/** How references become memories. */
export interface PretrainingMemory {
  readonly profile: MemoryProfile;
  /** Token ids of "Repeat the reference:", for reconstruction scores. */
  readonly repeatPrompt: readonly number[];
}

export interface PretrainingOptions {
  readonly trainer: ModelTrainer;
  readonly source: SequenceSource;
  readonly order: SequenceOrder;
  /** The draw that the first step begins with: as many as earlier stages have seen. */
  readonly firstDraw: number;
  /** Sequences of a step. */
  readonly stepSequences: number;
  /** Sequences that go through the model together; more take more memory, and are hardly faster. */
  readonly passSequences: number;
  /** Null: no memories. */
  readonly memory: PretrainingMemory | null;
  readonly validation: SequenceSource;
  /** So many are measured at each validation, taken evenly from all. */
  readonly validationSequences: number;
}

/** Names of the validation losses. */
export const lossNames = { plain: 'without memories', memory: 'with memories' } as const;

export class Pretraining implements Trainable {
  readonly #options: PretrainingOptions;
  #draw: number;

  constructor(options: PretrainingOptions) {
    this.#options = options;
    this.#draw = options.firstDraw;
  }

  async step(rate: number): Promise<StepResult> {
    const { trainer, source, order, stepSequences } = this.#options;
    const indices = Array.from({ length: stepSequences }, (_, i) => order.index(this.#draw + i));
    const result = await learn(trainer, passesOf(trainer, source, indices, this.#options), rate);
    this.#draw += stepSequences;
    return result;
  }

  /** Loss without memories and, where they are trained, with them. */
  async validate(signal?: AbortSignal): Promise<Readonly<Record<string, number>>> {
    const { trainer, validation, validationSequences: count, passSequences, memory } = this.#options;
    const measured = async (seen: PretrainingMemory | null) =>
      meanOf(
        await sequenceLosses(trainer, validation, { memory: seen, count, passSequences, ...(signal && { signal }) }),
      );
    const plain = await measured(null);
    return memory === null
      ? { [lossNames.plain]: plain }
      : { [lossNames.plain]: plain, [lossNames.memory]: await measured(memory) };
  }

  async state(): Promise<TrainingState> {
    const { tensors, values } = await this.#options.trainer.state();
    return { tensors, values: { ...values, draw: this.#draw } };
  }

  async restore(state: TrainingState): Promise<void> {
    const draw = z.int().nonnegative().safeParse(state.values.draw);
    if (!draw.success) throw new Memory3Error('damaged', 'The state of a pretraining has no position in its corpus.');
    await this.#options.trainer.restore(state);
    this.#draw = draw.data;
  }
}

export interface MeasureOptions {
  /** Null: no memories. A model may be measured with other memories than it was trained with, or with any at all. */
  readonly memory: PretrainingMemory | null;
  /** Sequences to measure, taken evenly from all; more than there are: all. */
  readonly count: number;
  readonly passSequences: number;
  readonly signal?: AbortSignal;
}

/** Mean loss of each sequence, nats per token. */
export async function sequenceLosses(
  trainer: ModelTrainer,
  source: SequenceSource,
  { memory, count, passSequences, signal }: MeasureOptions,
): Promise<number[]> {
  const losses: number[] = [];
  const all = source.tokens.count;
  const length = Math.min(count, all);
  const indices = Array.from({ length }, (_, i) => Math.floor((i * all) / length));
  for await (const pass of passesOf(trainer, source, indices, { passSequences, memory })) {
    signal?.throwIfAborted();
    const { nll } = await trainer.measure(pass.batch, pass.memory);
    const { length: rows } = pass.batch.sequences;
    const predicted = nll.length / rows;
    for (let row = 0; row < rows; row++) {
      losses.push(meanOf(nll.subarray(row * predicted, (row + 1) * predicted)));
    }
  }
  return losses;
}

/** Sequences of a corpus, some of them together in each pass. */
async function* passesOf(
  trainer: ModelTrainer,
  source: SequenceSource,
  indices: readonly number[],
  { passSequences, memory }: Pick<PretrainingOptions, 'passSequences' | 'memory'>,
): AsyncGenerator<Pass, void> {
  for (const part of partsOf(indices, passSequences)) {
    const batch = sequenceBatch(source, part, memory !== null);
    yield { batch, memory: await batchMemory(trainer, batch, memory) };
  }
}

/** How a batch's references become memories; a batch whose chunks found none is read as an ordinary model does. */
async function batchMemory(
  trainer: ModelTrainer,
  batch: TrainingBatch,
  memory: PretrainingMemory | null,
): Promise<BatchMemory | undefined> {
  if (memory === null || batch.references.length === 0) return undefined;
  const { profile, repeatPrompt } = memory;
  const read = { profile, keptTokens: profile.keptTokens, chunkTokens, summaryTokens: 0 };
  return await withChosenTokens(trainer, batch, read, repeatPrompt);
}

export function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
}

function partsOf<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, part) =>
    values.slice(part * size, (part + 1) * size),
  );
}
