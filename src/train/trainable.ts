/** What a run drives (`run.ts`): something that learns by steps and whose whole state can be kept and put back. */
import type { TensorToWrite } from '../model/safetensors-writer.ts';

/** What one step did. */
export interface StepResult {
  /** Mean nats per token that the loss counts. */
  readonly loss: number;
  /** Tokens that went through the model, references and padding included: what a step costs. */
  readonly tokens: number;
  /** Euclidean length of the whole gradient before it was clipped. */
  readonly gradientNorm: number;
  /** Examples whose end was left off because it did not fit; not there where all of an example is always read. */
  readonly cut?: number;
}

/** A state as tensors by name and a few plain values (positions in the data, the optimiser's step). */
export interface TrainingState {
  readonly tensors: ReadonlyMap<string, TensorToWrite>;
  /** JSON. */
  readonly values: Readonly<Record<string, unknown>>;
}

export interface Trainable {
  /**
   * One optimiser step on the batches that come next. The same state, data and rate give bit-identical results.
   * @param rate learning rate of this step
   */
  step(rate: number): Promise<StepResult>;
  /**
   * Validation losses by name; changes nothing.
   * @throws the signal's reason, between two passes through the model
   */
  validate(signal?: AbortSignal): Promise<Readonly<Record<string, number>>>;
  /** Everything that `restore` needs to go on exactly here. */
  state(): Promise<TrainingState>;
  restore(state: TrainingState): Promise<void>;
}
