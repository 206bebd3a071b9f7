/**
 * Direct preference optimisation (paper 6; Rafailov et al. 2023): of two answers to a prompt the model learns to prefer one,
 * held by a frozen copy of itself. `preference-objective.ts` has the formula.
 *
 * The frozen model's log-likelihoods never change, so they are computed once, before the first step
 * (`frozen-likelihoods.ts`), and no second model is held. Both answers of a pair see the references that the prompt recalls, and
 * the same ones, so that what is compared are the answers. A pass is one pair, side by side; a step accumulates the
 * gradients of `batch` pairs, and its loss is their mean.
 */
import { Memory3Error } from '../../errors.ts';
import { batchInputs, targetNames } from '../batch.ts';
import { sequenceOrder } from '../data/order.ts';
import type { ModelTrainer, Objective } from '../model-trainer.ts';
import { positionOf } from '../position.ts';
import type { StepResult, Trainable, TrainingState } from '../trainable.ts';
import { type FineTuningMemory, sideBySideBatch } from './batches.ts';
import type { TrainingSample } from './chat-examples.ts';
import type { PairLikelihoods } from './frozen-likelihoods.ts';
import { preferenceInputs, preferenceNames, preferenceObjective } from './preference-objective.ts';
import type { PreferencePair } from './preferences.ts';

/** A pair with what the frozen model says of its answers. */
export interface FrozenPair {
  readonly pair: Pick<PreferencePair, 'chosen' | 'rejected'>;
  readonly frozen: PairLikelihoods;
}

export interface PreferenceOptions {
  readonly trainer: ModelTrainer;
  readonly training: readonly FrozenPair[];
  /** Validated as "preferences" (the loss) and "wrong order" (the share of pairs that moved the wrong way); may be empty. */
  readonly validation: readonly FrozenPair[];
  /** Null: answers see no references. */
  readonly memory: FineTuningMemory | null;
  readonly beta: number;
  /** Pairs in a step. */
  readonly batch: number;
  /** Orders the pairs. */
  readonly seed: number;
}

/** Log-likelihoods of a pair's answers under the trainer's present weights, summed over their tokens. */
export async function pairLikelihoods(
  trainer: ModelTrainer,
  { chosen, rejected }: FrozenPair['pair'],
  memory: FineTuningMemory | null,
): Promise<PairLikelihoods> {
  const { batch, memory: batchMemory } = await sideBySideBatch(trainer, [chosen, rejected], memory);
  const { nll } = await trainer.measure(batch, batchMemory);
  const rows = answerTokens(chosen);
  const likelihood = (part: Float32Array) => -part.reduce((sum, one) => sum + one, 0);
  return { chosen: likelihood(nll.subarray(0, rows)), rejected: likelihood(nll.subarray(rows)) };
}

/** Drive it with `runTraining`. */
export class DirectPreference implements Trainable {
  readonly #options: PreferenceOptions;
  readonly #objective: Objective;
  readonly #order: ReturnType<typeof sequenceOrder>;
  /** Steps done. */
  #position = 0;

  /** @throws Memory3Error "usage" if there is nothing to learn from. */
  constructor(options: PreferenceOptions) {
    this.#options = options;
    if (options.training.length === 0) {
      throw new Memory3Error('usage', 'There is no preference to learn from that fits into a sequence.');
    }
    this.#objective = preferenceObjective(options.beta);
    this.#order = sequenceOrder(options.seed, options.training.length);
  }

  async step(rate: number): Promise<StepResult> {
    const { trainer, training, batch } = this.#options;
    let [loss, tokens] = [0, 0];
    for (let i = 0; i < batch; i++) {
      const pair = training[this.#order.index(this.#position * batch + i)] as FrozenPair;
      const { inputs, memory, tokens: read } = await this.#inputs(pair);
      const outputs = await trainer.accumulateObjective(this.#objective, inputs, 1, memory, [preferenceNames.loss]);
      loss += outputs[preferenceNames.loss]?.data[0] as number;
      tokens += read;
    }
    const gradientNorm = await trainer.update(rate);
    this.#position++;
    return { loss: loss / batch, tokens, gradientNorm };
  }

  async validate(signal?: AbortSignal): Promise<Readonly<Record<string, number>>> {
    const { trainer, validation } = this.#options;
    if (validation.length === 0) return {};
    const { loss: lossName, scores: scoresName } = preferenceNames;
    let [loss, wrong] = [0, 0];
    for (const pair of validation) {
      signal?.throwIfAborted();
      const { inputs, memory } = await this.#inputs(pair);
      const outputs = await trainer.measureObjective(this.#objective, inputs, memory, [lossName, scoresName]);
      loss += outputs[lossName]?.data[0] as number;
      if ((outputs[scoresName]?.data[0] as number) < 0) wrong++;
    }
    return { preferences: loss / validation.length, 'wrong order': wrong / validation.length };
  }

  async state(): Promise<TrainingState> {
    const { tensors, values } = await this.#options.trainer.state();
    return { tensors, values: { ...values, position: this.#position } };
  }

  async restore(state: TrainingState): Promise<void> {
    await this.#options.trainer.restore(state);
    this.#position = positionOf(state);
  }

  async #inputs({ pair, frozen }: FrozenPair) {
    const { trainer } = this.#options;
    const { batch, memory } = await sideBySideBatch(trainer, [pair.chosen, pair.rejected], this.#options.memory);
    const { inputs, tokens } = batchInputs(trainer.config, batch, memory);
    const { [targetNames.weights]: _, ...own } = inputs;
    const rows = {
      chosen: answerTokens(pair.chosen),
      rejected: answerTokens(pair.rejected),
      frozen: frozen.chosen - frozen.rejected,
    };
    return { inputs: { ...own, ...preferenceInputs([rows]) }, memory, tokens };
  }
}

function answerTokens({ weights }: TrainingSample): number {
  return weights.reduce((count, weight) => (weight === 0 ? count : count + 1), 0);
}
