/**
 * A model under training: its weights, gradients and moments on a device, and the graphs that move them.
 *
 * One step is a number of batches, whose gradients are added up, and one update:
 *
 *   accumulate(batch)   forward and backward; gradients of the weighted sum of the losses are added
 *   update(rate)        divides by the sum of the weights, clips the whole gradient's length, AdamW
 *
 * Weights are either all trained, or frozen beneath low-rank companions (LoRA). Everything stays in the device; batches
 * go in, losses come out.
 */

import { Memory3Error } from '../errors.ts';
import { seededRandom } from '../generate/sampling.ts';
import type { Graph, GraphBuilder } from '../graph/graph.ts';
import { crossEntropy, weightedSum } from '../graph/loss.ts';
import { writeOnnx } from '../graph/onnx.ts';
import { inputParameters, type LoraShape, type MakeParameters } from '../graph/parameters.ts';
import { buildTrainer, type Loss, type TrainerOptions } from '../graph/trainer.ts';
import { isTrainedScoring, type TrainedReferences, trainerNames } from '../graph/trainer-inputs.ts';
import type { TransformerOptions } from '../graph/transformer.ts';
import type { ModelSource } from '../memory/model.ts';
import { decidingScoring, referenceTokens } from '../memory/profile.ts';
import type { ModelConfig } from '../model/config.ts';
import { toDense } from '../model/quantised.ts';
import { rotaryTables } from '../model/rope.ts';
import type { TensorToWrite } from '../model/safetensors-writer.ts';
import type { Device, StateArray, TensorData } from '../runtime/device.ts';
import { type BatchMemory, batchInputs, type TrainingBatch, targetNames } from './batch.ts';
import { type LoraOptions, loraShape, newCompanions, newSummaryTokens } from './lora.ts';
import { Optimiser, type TrainedArray } from './optimiser.ts';
import type { TrainingState } from './trainable.ts';

export interface ModelTrainerOptions {
  /** Null trains all weights. */
  readonly lora: LoraOptions | null;
  /** Embeddings of summary tokens to train, `[count, hiddenSize]`; default none. */
  readonly summaryTokens?: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Weight decay; default 0.1 (paper 4.1). */
  readonly decay?: number;
  /** Whether vectors (norms, biases) decay too; default false. */
  readonly decayVectors?: boolean;
  /** Longest whole gradient; default 1. */
  readonly clip?: number;
  /** Computes layers again for the backward pass, which takes less memory and a third more time. */
  readonly recompute?: boolean;
  /** Longest sequence, for the rotary tables; default 2048. */
  readonly longest?: number;
  /** Begins the companions and summary tokens; default 0. */
  readonly seed?: number;
}

/** What a batch's graph said. */
export interface BatchResult {
  /** Weighted sum of the negative log-likelihoods, nats. */
  readonly sum: number;
  readonly weight: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
}

/** A loss of its own kind, and the inputs that it needs beside those of a batch. */
export interface Objective {
  /** Names the graph. */
  readonly name: string;
  readonly loss: (builder: GraphBuilder, logits: string) => Loss;
}

const lossName = 'loss';
const nllName = 'nll';

/** Cross-entropy, weighted and summed; also the likelihood of each target. */
export const crossEntropyObjective: Objective = {
  name: 'cross-entropy',
  loss(builder, logits) {
    const targets = builder.input(targetNames.targets, 'int64', ['rows']);
    const weights = builder.input(targetNames.weights, 'float32', ['rows']);
    const { nll, gradient } = crossEntropy(builder, logits, targets);
    return {
      outputs: [
        { value: weightedSum(builder, nll, weights), info: { name: lossName, type: 'float32', shape: [1] } },
        { value: nll, info: { name: nllName, type: 'float32', shape: ['rows'] } },
      ],
      seed: gradient(weights),
    };
  },
};

interface Parts {
  readonly config: ModelConfig;
  readonly options: Required<Omit<ModelTrainerOptions, 'lora'>>;
  readonly lora: LoraShape | undefined;
  /** Of the model's own weights. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly optimiser: Optimiser;
  /** Handles of the device's states that do not change. */
  readonly states: Readonly<Record<'tables' | 'frozen', number>>;
}

/** Close it with `await using`; it does not own the device. */
export class ModelTrainer implements AsyncDisposable {
  readonly config: ModelConfig;
  readonly #device: Device;
  readonly #options: Parts['options'];
  readonly #lora: LoraShape | undefined;
  readonly #shapes: Parts['shapes'];
  readonly #optimiser: Optimiser;
  readonly #states: Parts['states'];
  readonly #sessions = new Map<string, Promise<number>>();
  /** Weights of the batches since the last update. */
  #weight = 0;

  private constructor(device: Device, parts: Parts) {
    this.config = parts.config;
    this.#device = device;
    this.#options = parts.options;
    this.#lora = parts.lora;
    this.#shapes = parts.shapes;
    this.#optimiser = parts.optimiser;
    this.#states = parts.states;
  }

  /** Unpacks the model's weights into the device. */
  static async open(
    { config, weights }: ModelSource,
    device: Device,
    { lora: loraOptions, ...given }: ModelTrainerOptions,
  ): Promise<ModelTrainer> {
    const options = {
      summaryTokens: 0,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      decay: 0.1,
      decayVectors: false,
      clip: 1,
      recompute: false,
      longest: 2048,
      seed: 0,
      ...given,
    };
    const dense = weights.names.map((name): Required<StateArray> => {
      const { shape, data } = toDense(weights.get(name));
      return { name, shape, data: data.slice() };
    });
    const shapes = new Map(dense.map(({ name, shape }) => [name, shape]));
    const random = seededRandom(options.seed);
    const lora = loraOptions === null ? undefined : loraShape(shapes, loraOptions);
    const added = [
      ...(lora === undefined ? [] : newCompanions(shapes, lora, random)),
      ...newSummaryTokens(dense, config, options.summaryTokens, random),
    ];
    const trained = lora === undefined ? [...dense, ...added] : added;
    // Reconstruction scores take twice a reference and a prompt between.
    const rows = referenceTokens + Math.max(options.longest, 2 * referenceTokens);
    const positions = Array.from({ length: rows }, (_, position) => position);
    const { cos, sin } = rotaryTables(config, positions);
    const tableShape = [positions.length, config.headDim / 2];
    const states = {
      tables: await device.state([
        { name: trainerNames.cos, shape: tableShape, data: cos },
        { name: trainerNames.sin, shape: tableShape, data: sin },
      ]),
      frozen: await device.state(lora === undefined ? [] : dense),
    };
    const optimiser = await Optimiser.open(device, trained, options);
    return new ModelTrainer(device, { config, options, lora, shapes, optimiser, states });
  }

  /** Names and shapes of what is trained. */
  get trained(): readonly TrainedArray[] {
    return this.#optimiser.trained;
  }

  /** Companions that are trained; null if all weights are. */
  get lora(): LoraShape | null {
    return this.#lora ?? null;
  }

  /** Forward and backward of one batch under cross-entropy; its gradient is added to those since the last update. */
  async accumulate(batch: TrainingBatch, memory?: BatchMemory): Promise<BatchResult> {
    const { inputs, weight, tokens } = batchInputs(this.config, batch, memory);
    const outputs = await this.accumulateObjective(crossEntropyObjective, inputs, weight, memory, [lossName]);
    return { sum: outputs[lossName]?.data[0] as number, weight, tokens };
  }

  /** The same for any loss, whose sum weighs `weight`. @returns the outputs asked for. */
  async accumulateObjective(
    objective: Objective,
    inputs: Readonly<Record<string, TensorData>>,
    weight: number,
    memory: BatchMemory | undefined,
    outputs: readonly string[],
  ): Promise<Record<string, TensorData>> {
    this.#checkPositions(inputs);
    const session = await this.#session(objective, memory, true);
    const { frozen, tables } = this.#states;
    const { weights, gradients } = this.#optimiser;
    const results = await this.#device.run({
      session,
      inputs,
      states: [tables, frozen, weights],
      outputs,
      keep: {
        state: gradients,
        arrays: Object.fromEntries(this.#reached(memory).map((name) => [trainerNames.gradient(name), name])),
      },
    });
    this.#weight += weight;
    return results;
  }

  /** The loss of a batch, and of each of its targets; nothing changes. */
  async measure(batch: TrainingBatch, memory?: BatchMemory): Promise<BatchResult & { readonly nll: Float32Array }> {
    const { inputs, weight, tokens } = batchInputs(this.config, batch, memory);
    const outputs = await this.measureObjective(crossEntropyObjective, inputs, memory, [lossName, nllName]);
    return {
      sum: outputs[lossName]?.data[0] as number,
      nll: outputs[nllName]?.data as Float32Array,
      weight,
      tokens,
    };
  }

  /** Forward only, for any loss. */
  async measureObjective(
    objective: Objective,
    inputs: Readonly<Record<string, TensorData>>,
    memory: BatchMemory | undefined,
    outputs: readonly string[],
  ): Promise<Record<string, TensorData>> {
    this.#checkPositions(inputs);
    const session = await this.#session(objective, memory, false);
    const { frozen, tables } = this.#states;
    return this.#device.run({ session, inputs, states: [tables, frozen, this.#optimiser.weights], outputs });
  }

  /**
   * Runs a graph of one's own with the weights as they are now, and the rotary tables, as its inputs.
   * @param key names the graph, which is built and compiled once
   */
  async runGraph(
    key: string,
    build: (makeParameters: MakeParameters, options: TransformerOptions) => Graph,
    inputs: Readonly<Record<string, TensorData>>,
    outputs: readonly string[],
  ): Promise<Record<string, TensorData>> {
    const makeParameters: MakeParameters = (builder) => inputParameters(builder, this.#shapes, this.#lora);
    const session = await this.#compiled(`own:${key}`, () => build(makeParameters, this.#graphOptions));
    const { frozen, tables } = this.#states;
    return this.#device.run({ session, inputs, states: [tables, frozen, this.#optimiser.weights], outputs });
  }

  /**
   * One AdamW update by the mean gradient since the last one.
   * @returns that gradient's length before it was clipped.
   * @throws Memory3Error "usage" if nothing weighed anything since then.
   */
  async update(rate: number): Promise<number> {
    if (this.#weight === 0) {
      throw new Memory3Error('usage', 'There was nothing to learn from: no token of the last batches has a weight.');
    }
    const norm = await this.#optimiser.update(rate, this.#weight);
    this.#weight = 0;
    return norm;
  }

  /** Copies of what is trained, by name. */
  tensors(): Promise<Map<string, TensorToWrite>> {
    return this.#optimiser.read('weights');
  }

  /** Copies of the gradients of all weighted sums since the last update, by the name of what is trained. */
  gradients(): Promise<Map<string, TensorToWrite>> {
    return this.#optimiser.read('gradients');
  }

  /** What `restore` needs: trained weights, moments, the number of updates. Between two steps only. */
  state(): Promise<TrainingState> {
    return this.#optimiser.state();
  }

  /** @throws Memory3Error "damaged" if the state lacks something or is of another shape. */
  async restore(state: TrainingState): Promise<void> {
    await this.#optimiser.restore(state);
    this.#weight = 0;
  }

  /** Frees the graphs and the arrays. */
  async [Symbol.asyncDispose](): Promise<void> {
    // One that could not be compiled was told where it was wanted, and is not to hide that error behind another.
    for (const session of await Promise.allSettled(this.#sessions.values())) {
      if (session.status === 'fulfilled') await this.#device.release(session.value);
    }
    await this.#optimiser[Symbol.asyncDispose]();
    for (const state of Object.values(this.#states)) await this.#device.release(state);
  }

  /** The runtime would read behind the rotary tables. */
  #checkPositions(inputs: Readonly<Record<string, TensorData>>): void {
    const end = referenceTokens + this.#options.longest;
    for (const position of (inputs[trainerNames.positions] as TensorData).data) {
      if (position < end) continue;
      throw new Memory3Error(
        'too-long',
        `A sequence has position ${position}, the trainer's positions end at ${end}.`,
        {
          remedy: 'Cut the sequence, or open the trainer for longer ones.',
        },
      );
    }
  }

  /** What a graph with these memories trains: summary tokens are read only where references are. */
  #reached(memory: BatchMemory | undefined): string[] {
    const summary = memory !== undefined && memory.summaryTokens > 0;
    return this.trained.flatMap(({ name }) => (name !== trainerNames.summary || summary ? [name] : []));
  }

  /** Graphs are compiled when first needed; one serves every number of kept tokens, references and sequences. */
  #session(objective: Objective, memory: BatchMemory | undefined, backward: boolean): Promise<number> {
    const references = memory === undefined ? undefined : trainedReferences(memory);
    const key = JSON.stringify([objective.name, references, backward]);
    const options = (): TrainerOptions => ({
      ...this.#graphOptions,
      loss: objective.loss,
      trained: backward ? this.#reached(memory) : [],
      recompute: this.#options.recompute,
      ...(this.#lora === undefined ? {} : { lora: this.#lora }),
      ...(references === undefined ? {} : { references }),
    });
    return this.#compiled(key, () => buildTrainer(this.config, this.#shapes, options()));
  }

  #compiled(key: string, build: () => Graph): Promise<number> {
    let session = this.#sessions.get(key);
    if (session === undefined) {
      session = this.#device.session({ ...writeOnnx(build()), planMemory: false });
      this.#sessions.set(key, session);
    }
    return session;
  }

  get #graphOptions(): TransformerOptions {
    return { fusedScores: this.#device.provider !== 'webgpu' };
  }
}

function trainedReferences({
  profile,
  keptTokens,
  chunkTokens,
  summaryTokens,
  chosen,
}: BatchMemory): TrainedReferences {
  const { layers, header } = profile;
  const scoring = decidingScoring({ ...profile, keptTokens });
  const given = summaryTokens > 0 || chosen !== undefined;
  if (!given && !isTrainedScoring(scoring)) {
    throw new Memory3Error('usage', `A training graph cannot keep tokens by ${scoring}.`, {
      remedy:
        scoring === 'summary'
          ? 'Open the trainer with summary tokens, and say how many in each batch.'
          : 'Choose the tokens beforehand (chooseTokens), or choose another scoring.',
    });
  }
  return {
    layers,
    header: header.length,
    scoring: given || !isTrainedScoring(scoring) ? null : scoring,
    summaryTokens,
    chunkTokens,
  };
}
